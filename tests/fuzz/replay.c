/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzzer's entry point over the files of a corpus, for builds without libFuzzer: gcc's sanitizers see each input
 * that a fuzzer once found interesting, in every test run. A missing or empty corpus is a failure, not a pass.
 *
 * Beside each file itself, its prefixes are run (all of them for short inputs, a spread for long ones), because a cut
 * input is what a parser meets on every slow connection. `--mutations N` then runs N seeded mutations of the corpus.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/mutate.h"

#define MAX_PREFIXES 64u
#define MAX_INPUTS   512u
#define MAX_MUTATION 8192u
#define SEED         20261123u

/* The corpus, for the mutations. */
static struct fuzz_input inputs[MAX_INPUTS];
static size_t input_count;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
/* A fuzzer's last word on the whole run: not 0 is a failure, which it has printed. */
__attribute__((weak)) int fuzz_finish(void);

/* A copy of the exact size, so that a sanitizer sees a read behind its end. */
static void run_once(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path) {
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        if (file)
            fclose(file);
        return -1;
    }
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        abort();
    size_t got = fread(data, 1, size, file);
    fclose(file);
    if (got != size) {
        fprintf(stderr, "%s: short read\n", path);
        free(data);
        return -1;
    }
    size_t step = size / MAX_PREFIXES + 1;
    for (size_t length = 0; length < size; length += step)
        run_once(data, length);
    run_once(data, size);
    if (input_count < MAX_INPUTS)
        inputs[input_count++] = (struct fuzz_input){data, size};
    else
        free(data);
    return 0;
}

static void run_mutations(unsigned long count) {
    static uint8_t mutation[MAX_MUTATION];
    struct vx_random random = {SEED};
    for (unsigned long i = 0; i < count; i++)
        run_once(mutation, fuzz_mutate(&random, inputs, input_count, mutation, sizeof mutation));
    printf("%lu mutations\n", count);
}

/* The number of files run, or -1 after a failure that was printed. */
static long run_folder(const char *folder) {
    struct dirent **entries;
    long count = 0;
    int total = scandir(folder, &entries, NULL, alphasort);
    if (total < 0) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -1;
    }
    for (int i = 0; i < total; i++) {
        char path[4096];
        if (entries[i]->d_name[0] != '.' && count >= 0) {
            int length = snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
            if (length < 0 || (size_t)length >= sizeof(path) || run_file(path) != 0)
                count = -1;
            else
                count++;
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv) {
    unsigned long mutations = 0;
    if (argc > 2 && strcmp(argv[1], "--mutations") == 0) {
        mutations = strtoul(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: %s [--mutations N] CORPUS_FOLDER...\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        long count = run_folder(argv[i]);
        if (count < 0)
            return 1;
        if (count == 0) {
            fprintf(stderr, "%s: no inputs\n", argv[i]);
            return 1;
        }
        printf("%s: %ld inputs\n", argv[i], count);
    }
    run_mutations(mutations);
    while (input_count > 0)
        free(inputs[--input_count].data);
    return fuzz_finish ? fuzz_finish() : 0;
}
