/* SPDX-License-Identifier: Apache-2.0 */
/* Reloads and pushes with an engine whose compiler takes as long as the test wants: the control thread goes on meanwhile,
 * jobs keep their order, and the end does not wait. */
#include "proxy/control/ahead.h"

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#include "control_test.h"

static sem_t started, go_on; /* of compile() */
static atomic_uint compiled_count;
static unsigned held, forgotten;
static struct vx_control *signalled;
static char answers[512]; /* `+` or `-` and the text of each, in the order in which they came */

static void attach(struct vx_filter_engine *self, uint32_t index, const struct vx_filter_worker *worker) {
    (void)self, (void)index, (void)worker;
}

static void configure(struct vx_filter_engine *self, const struct vx_config_wasm *config) {
    (void)self, (void)config;
}

static void compile(struct vx_filter_engine *self, const struct vx_config_filter *config,
                    struct vx_slice binary) {
    (void)self;
    assert_true(config || binary.len);
    sem_post(&started);
    sem_wait(&go_on);
    atomic_fetch_add(&compiled_count, 1);
}

static void forget_compiled(struct vx_filter_engine *self) {
    (void)self;
    forgotten++;
}

static void enter(struct vx_filter *f, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns) {
    (void)f, (void)worker, (void)snapshot, (void)now_ns;
}

static const struct vx_filter_ops ops = {.enter = enter};

static struct vx_filter *load(struct vx_filter_engine *self, const struct vx_config_filter *config,
                              struct vx_slice binary, struct vx_config_error *error) {
    (void)self;
    if (vx_slice_eq(binary, VX_SLICE("bad"))) {
        *error = (struct vx_config_error){config->wasm_place, "it is bad"};
        return NULL;
    }
    struct vx_filter *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->ops = &ops;
    f->name = config->name;
    held++;
    return f;
}

static void drop(struct vx_filter_engine *self, struct vx_filter *f) {
    (void)self;
    free(f);
    held--;
}

static void tend(struct vx_filter_engine *self) {
    (void)self;
}

static struct vx_filter_engine engine = {
    .attach = attach,
    .configure = configure,
    .compile = compile,
    .forget_compiled = forget_compiled,
    .load = load,
    .drop = drop,
    .tend = tend,
};

static void answered(struct vx_admin_call *call, const struct vx_admin_answer *a) {
    (void)call;
    size_t n = strlen(answers);
    snprintf(answers + n, sizeof answers - n, "%c%.*s;", a->outcome == VX_ADMIN_DONE ? '+' : '-',
             VX_SLICE_ARG(a->text));
}

static struct vx_admin_call call = {answered};

static struct control_world *start(void) {
    struct control_world *w = control_start();
    w->c.filters = &engine;
    control_write(w, "one.wasm", "x");
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "filters: [ { name: one, wasm: one.wasm } ]\n");
    control_load_ok(w);
    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    atomic_store(&compiled_count, 0);
    forgotten = 0;
    answers[0] = '\0';
    return w;
}

/* Lets the compiler go on and waits for what comes of it. */
static void let_go_on(struct control_world *w) {
    unsigned before = forgotten;
    sem_post(&go_on);
    while (forgotten == before)
        vx_loop_run_once(w->c.engine.loop, 1000000000);
    control_settle(w);
}

static void push(struct control_world *w, const char *name, struct vx_slice binary) {
    const char *why = NULL;
    if (!vx_ahead_push(&w->c, vx_slice_of(name), binary, &call, &why))
        fail_msg("%s", why);
}

static void end(struct control_world *w) {
    control_end(w);
    assert_int_equal(held, 0);
}

static void test_the_control_thread_goes_on(void **state) {
    (void)state;
    struct control_world *w = start();
    push(w, "", VX_SLICE("new"));
    sem_wait(&started);
    control_settle(w);
    assert_string_equal(answers, "");
    assert_int_equal(w->c.version, 1);
    assert_int_equal(w->c.ahead.bytes, 3);
    let_go_on(w);
    assert_string_equal(answers, "+filter one replaced: version 2;");
    assert_int_equal(w->c.ahead.bytes, 0);
    assert_true(w->c.setup->loaded[0]->pushed);
    end(w);
}

static void test_one_after_the_other(void **state) {
    (void)state;
    struct control_world *w = start();
    push(w, "one", VX_SLICE("new"));
    push(w, "one", VX_SLICE("bad"));
    push(w, "two", VX_SLICE("new"));
    assert_true(vx_ahead_reload(&w->c, VX_SLICE_NONE, &call));
    for (unsigned i = 0; i < 4; i++) {
        sem_wait(&started);
        assert_int_equal(sem_trywait(&started), -1); /* no two at a time */
        let_go_on(w);
    }
    assert_string_equal(answers,
                        "+filter one replaced: version 2;-it is bad;"
                        "-the configuration has no filter `two`;+configuration reloaded: version 3;");
    assert_false(w->c.setup->loaded[0]->pushed); /* the reload read the file again */
    end(w);
}

static void test_signals_in_a_row_are_one_reload(void **state) {
    (void)state;
    struct control_world *w = start();
    for (unsigned i = 0; i < 5; i++)
        assert_true(vx_ahead_reload(&w->c, VX_SLICE_NONE, NULL));
    /* The first is under way and may have read the file already, so one more follows. */
    for (unsigned i = 0; i < 2; i++) {
        sem_wait(&started);
        let_go_on(w);
    }
    assert_int_equal(w->c.version, 3);
    assert_true(vx_list_empty(&w->c.ahead.jobs));
    end(w);
}

static void test_what_is_refused_at_once(void **state) {
    (void)state;
    struct control_world *w = start();
    const char *why = NULL;
    assert_false(vx_ahead_push(&w->c, VX_SLICE_NONE, VX_SLICE_NONE, &call, &why));
    assert_string_equal(why, "there is no module in the request");
    w->c.ahead.bytes = VX_AHEAD_BYTES_MAX;
    assert_false(vx_ahead_push(&w->c, VX_SLICE_NONE, VX_SLICE("x"), &call, &why));
    assert_string_equal(why, "too many modules wait to be compiled");
    w->c.ahead.bytes = 0;
    end(w);
}

static void test_the_end_answers_everybody_and_waits_for_nobody(void **state) {
    (void)state;
    struct control_world *w = start();
    push(w, "", VX_SLICE("new"));
    push(w, "", VX_SLICE("newer"));
    assert_true(vx_ahead_reload(&w->c, VX_SLICE_NONE, &call));
    sem_wait(&started);
    assert_false(vx_ahead_end(&w->c));
    assert_string_equal(answers, "-the proxy has ended;-the proxy has ended;-the proxy has ended;");
    sem_post(&go_on);
    while (!vx_ahead_end(&w->c))
        vx_loop_run_once(w->c.engine.loop, 1000000);
    assert_int_equal(atomic_load(&compiled_count), 1);
    assert_int_equal(w->c.version, 1);
    end(w);
    assert_string_equal(answers, "-the proxy has ended;-the proxy has ended;-the proxy has ended;");
}

static unsigned count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;
    assert_non_null(tasks);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

/* As when it is through between the last look at it and the end: TSan tells of threads that ended and were not joined. */
static void leave(void) {
    struct control_world *w = start();
    push(w, "", VX_SLICE("new"));
    sem_wait(&started);
    unsigned threads = count_threads();
    if (vx_ahead_end(&w->c))
        _exit(1);
    vx_ahead_leave(&w->c);
    sem_post(&go_on);
    while (count_threads() == threads)
        sched_yield();
    control_remove_folder(w);
    _exit(0);
}

static void test_the_process_may_end_under_the_compiler(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0)
        leave();
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void *let_compile(void *arg) {
    (void)arg;
    sem_wait(&started);
    sem_post(&go_on);
    return NULL;
}

static void test_the_first_load_finds_all_compiled(void **state) {
    (void)state;
    struct control_world *w = start();
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, let_compile, NULL), 0);
    vx_ahead_first(&w->c);
    pthread_join(other, NULL);
    assert_int_equal(atomic_load(&compiled_count), 1);
    assert_int_equal(forgotten, 0); /* the load to come needs it */
    assert_true(vx_list_empty(&w->c.ahead.jobs));
    end(w);
}

static struct vx_timer signal_timer;

static void as_a_signal(struct vx_timer *timer, uint64_t now_ns) {
    (void)timer, (void)now_ns;
    signalled->readiness = VX_DRAINING;
}

static void test_a_signal_ends_the_first_compiling(void **state) {
    (void)state;
    struct control_world *w = start();
    signalled = &w->c;
    vx_timer_init(&signal_timer, as_a_signal);
    vx_timer_set(&w->c.engine.rt.wheel, &signal_timer, w->c.engine.rt.now_ns);
    vx_ahead_first(&w->c);
    sem_wait(&started);
    assert_false(vx_ahead_end(&w->c));
    sem_post(&go_on);
    while (!vx_ahead_end(&w->c))
        vx_loop_run_once(w->c.engine.loop, 1000000);
    end(w);
}

static void test_nothing_is_replaced_while_draining(void **state) {
    (void)state;
    struct control_world *w = start();
    push(w, "", VX_SLICE("new"));
    sem_wait(&started);
    w->c.readiness = VX_DRAINING;
    let_go_on(w);
    assert_string_equal(answers, "-the proxy is draining;");
    assert_int_equal(w->c.version, 1);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_control_thread_goes_on),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_signals_in_a_row_are_one_reload),
        cmocka_unit_test(test_what_is_refused_at_once),
        cmocka_unit_test(test_the_end_answers_everybody_and_waits_for_nobody),
        cmocka_unit_test(test_the_process_may_end_under_the_compiler),
        cmocka_unit_test(test_the_first_load_finds_all_compiled),
        cmocka_unit_test(test_a_signal_ends_the_first_compiling),
        cmocka_unit_test(test_nothing_is_replaced_while_draining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
