/* SPDX-License-Identifier: Apache-2.0 */
/* See files.h. */
#include "proxy/tls/files.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES_MAX = 8 << 20 };

struct file {
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t len;
};

void vx_tls_explain(struct vx_tls_problem *problem, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(problem->text, sizeof problem->text, format, args);
    va_end(args);
    ERR_clear_error();
}

/* Why BoringSSL refused, in its own words. */
static const char *reason(void) {
    uint32_t code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown reason";
}

/* The whole file; false: *problem is filled. `what`: "certificate", "key", ... */
static bool read_file(struct file *f, struct vx_slice path, const char *what,
                      struct vx_tls_problem *problem) {
    f->bytes = NULL;
    f->len = 0;
    if (path.len >= sizeof f->path) {
        vx_tls_explain(problem, "the path of the %s is too long", what);
        return false;
    }
    memcpy(f->path, path.ptr, path.len);
    f->path[path.len] = '\0';
    FILE *stream = fopen(f->path, "rbe");
    if (!stream) {
        vx_tls_explain(problem, "cannot read the %s %s: %s", what, f->path, strerrordesc_np(errno));
        return false;
    }
    f->bytes = malloc(FILE_BYTES_MAX);
    errno = f->bytes ? 0 : ENOMEM;
    if (f->bytes)
        f->len = fread(f->bytes, 1, FILE_BYTES_MAX, stream);
    int error = !f->bytes || ferror(stream) ? errno : 0;
    fclose(stream);
    if (error || f->len == FILE_BYTES_MAX) {
        vx_tls_explain(problem, "cannot read the %s %s: %s", what, f->path,
                       error ? strerrordesc_np(error) : "it is larger than 8 MiB");
        free(f->bytes);
        f->bytes = NULL;
        return false;
    }
    return true;
}

/* The next certificate of a PEM file; NULL at its end, or when it is malformed (*bad is set then). */
static X509 *next_certificate(BIO *bio, bool *bad) {
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (x)
        return x;
    uint32_t code = ERR_peek_last_error();
    *bad = ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE;
    return NULL;
}

static X509 *use_chain(SSL_CTX *ctx, const struct file *f, struct vx_tls_problem *problem) {
    BIO *bio = BIO_new_mem_buf(f->bytes, (ossl_ssize_t)f->len);
    bool bad = false;
    X509 *x = bio ? next_certificate(bio, &bad) : NULL;
    if (!x) {
        if (bad)
            vx_tls_explain(problem, "%s: the certificate is malformed: %s", f->path, reason());
        else
            vx_tls_explain(problem, "%s holds no PEM certificate", f->path);
        BIO_free(bio);
        return NULL;
    }
    bool ok = SSL_CTX_use_certificate(ctx, x) == 1;
    X509_free(x);
    while (ok && (x = next_certificate(bio, &bad))) {
        ok = SSL_CTX_add1_chain_cert(ctx, x) == 1;
        X509_free(x);
    }
    BIO_free(bio);
    if (!ok || bad) {
        vx_tls_explain(problem, "%s: a certificate is malformed or of a kind that TLS cannot use: %s",
                       f->path, reason());
        return NULL;
    }
    ERR_clear_error();
    return SSL_CTX_get0_certificate(ctx);
}

/* A passphrase is never asked for: nobody is there to type it. Set where one was wanted. */
static int no_passphrase(char *to, int room, int writing, void *wanted) {
    (void)to, (void)room, (void)writing;
    *(bool *)wanted = true;
    return -1;
}

static EVP_PKEY *parse_key(const struct file *f, struct vx_tls_problem *problem) {
    bool wanted = false;
    BIO *bio = BIO_new_mem_buf(f->bytes, (ossl_ssize_t)f->len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &wanted) : NULL;
    BIO_free(bio);
    if (key)
        return key;
    if (wanted)
        vx_tls_explain(problem, "the key %s is locked with a passphrase; give one that is not", f->path);
    else
        vx_tls_explain(problem, "%s holds no PEM private key: %s", f->path, reason());
    return NULL;
}

X509 *vx_tls_use_files(SSL_CTX *ctx, struct vx_slice cert_path, struct vx_slice key_path,
                       struct vx_tls_problem *problem) {
    struct file cert, key_file;
    if (!read_file(&cert, cert_path, "certificate", problem))
        return NULL;
    X509 *leaf = use_chain(ctx, &cert, problem);
    free(cert.bytes);
    problem->key = leaf != NULL;
    if (!leaf || !read_file(&key_file, key_path, "key", problem))
        return NULL;
    EVP_PKEY *key = parse_key(&key_file, problem);
    OPENSSL_cleanse(key_file.bytes, key_file.len);
    free(key_file.bytes);
    if (!key)
        return NULL;
    if (!X509_check_private_key(leaf, key)) {
        vx_tls_explain(problem, "the key %s does not belong to the certificate %s", key_file.path, cert.path);
        leaf = NULL;
    } else if (SSL_CTX_use_PrivateKey(ctx, key) != 1) {
        vx_tls_explain(problem, "the key %s is of a kind that TLS cannot use: %s", key_file.path, reason());
        leaf = NULL;
    }
    EVP_PKEY_free(key);
    return leaf;
}

static bool add_name(STACK_OF(X509_NAME) * names, const X509 *x) {
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
    if (name && sk_X509_NAME_push(names, name))
        return true;
    X509_NAME_free(name);
    return false;
}

/* Adds every certificate of the file; how many, or -1 for a malformed one. */
static int fill_store(X509_STORE *store, const struct file *f, STACK_OF(X509_NAME) * names) {
    BIO *bio = BIO_new_mem_buf(f->bytes, (ossl_ssize_t)f->len);
    bool bad = !bio;
    int count = 0;
    X509 *x;
    while (!bad && (x = next_certificate(bio, &bad))) {
        bad = X509_STORE_add_cert(store, x) != 1 || (names && !add_name(names, x));
        X509_free(x);
        count++;
    }
    BIO_free(bio);
    return bad ? -1 : count;
}

X509_STORE *vx_tls_load_store(struct vx_slice path, STACK_OF(X509_NAME) * *names, uint8_t *digest,
                              struct vx_tls_problem *problem) {
    struct file f;
    if (!read_file(&f, path, "file of trusted certificates", problem))
        return NULL;
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509_NAME) *subjects = names ? sk_X509_NAME_new_null() : NULL;
    int count = store && (!names || subjects) ? fill_store(store, &f, subjects) : -1;
    if (digest)
        SHA256(f.bytes, f.len, digest);
    free(f.bytes);
    if (count > 0) {
        if (names)
            *names = subjects;
        ERR_clear_error();
        return store;
    }
    if (count == 0)
        vx_tls_explain(problem, "%s holds no PEM certificate", f.path);
    else
        vx_tls_explain(problem, "%s: a certificate is malformed: %s", f.path, reason());
    X509_STORE_free(store);
    sk_X509_NAME_pop_free(subjects, X509_NAME_free);
    return NULL;
}

size_t vx_tls_alpn_wire(const struct vx_slice *alpn, uint32_t count, uint8_t *out) {
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (alpn[i].len == 0 || alpn[i].len > 255 || len + 1 + alpn[i].len > 256)
            continue;
        out[len++] = (uint8_t)alpn[i].len;
        memcpy(out + len, alpn[i].ptr, alpn[i].len);
        len += alpn[i].len;
    }
    return len;
}
