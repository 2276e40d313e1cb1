/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: events, messages from other threads, timers, tasks, memory put off to the end of the round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "support/net.h"

struct seen {
    struct vx_watch watch;
    struct vx_loop *loop;
    struct vx_watch *other; /* to be unwatched and closed by our event */
    uint32_t events, count;
};

static void see(struct vx_watch *w, uint32_t events, uint64_t now_ns) {
    struct seen *s = VX_CONTAINER_OF(w, struct seen, watch);
    assert_true(now_ns > 0);
    s->events |= events;
    s->count++;
    if (s->other) {
        vx_loop_unwatch(s->loop, s->other);
        close(s->other->fd);
        s->other = NULL;
    }
}

static void tells_events_until_unwatched(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    struct seen s = {.watch = {see, eventfd(0, EFD_NONBLOCK)}};
    assert_true(vx_loop_watch(n.loop, &s.watch, EPOLLIN));
    assert_false(vx_loop_watch(n.loop, &s.watch, EPOLLIN));
    vx_test_net_settle(&n);
    assert_int_equal(s.count, 0);
    assert_int_equal(eventfd_write(s.watch.fd, 1), 0);
    VX_TEST_UNTIL(&n, s.count > 0);
    assert_int_equal(s.events, EPOLLIN);
    assert_true(vx_loop_rewatch(n.loop, &s.watch, EPOLLIN | EPOLLOUT));
    VX_TEST_UNTIL(&n, s.events & EPOLLOUT);
    vx_loop_unwatch(n.loop, &s.watch);
    vx_loop_unwatch(n.loop, &s.watch);
    s.count = 0;
    vx_test_net_settle(&n);
    assert_int_equal(s.count, 0);
    close(s.watch.fd);
    vx_test_net_end(&n);
}

/* Two events in one round, the first of which ends the watch of the second: its memory is still there. */
static void an_event_may_end_the_next_one(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    struct seen a = {.watch = {see, eventfd(1, EFD_NONBLOCK)}, .loop = n.loop};
    struct seen b = {.watch = {see, eventfd(1, EFD_NONBLOCK)}, .loop = n.loop};
    a.other = &b.watch;
    b.other = &a.watch;
    assert_true(vx_loop_watch(n.loop, &a.watch, EPOLLIN));
    assert_true(vx_loop_watch(n.loop, &b.watch, EPOLLIN));
    vx_loop_run_once(n.loop, 0);
    assert_true(a.count + b.count >= 1);
    uint32_t before = a.count + b.count;
    struct seen *alive = a.other ? &b : &a;
    vx_loop_unwatch(n.loop, &alive->watch);
    vx_test_net_settle(&n);
    assert_int_equal(a.count + b.count, before);
    close(alive->watch.fd);
    vx_test_net_end(&n);
}

enum { POSTERS = 4, POSTS = 20000 };

struct inbox_test {
    struct vx_loop *loop;
    unsigned next[POSTERS]; /* what is to come from each */
    unsigned total;
};

struct post {
    struct inbox_test *test;
    unsigned poster, number;
};

static void take_post(void *arg, uint64_t now_ns) {
    struct post *p = arg;
    (void)now_ns;
    if (p->number != p->test->next[p->poster])
        abort();
    p->test->next[p->poster]++;
    if (++p->test->total == POSTERS * POSTS)
        vx_loop_stop(p->test->loop);
    free(p);
}

static struct inbox_test *shared_test;

static void *post_many(void *arg) {
    unsigned poster = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < POSTS; i++) {
        struct post *p = malloc(sizeof *p);
        *p = (struct post){shared_test, poster, i};
        while (!vx_loop_post(shared_test->loop, take_post, p))
            sched_yield();
    }
    return NULL;
}

static void messages_arrive_once_and_in_order(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    struct inbox_test test = {.loop = n.loop};
    shared_test = &test;
    pthread_t threads[POSTERS];
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    vx_loop_run(n.loop);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(test.total, POSTERS * POSTS);
    assert_int_equal(vx_loop_stats(n.loop)->messages, POSTERS * POSTS);
    vx_test_net_end(&n);
}

static void count_call(void *arg, uint64_t now_ns) {
    (void)now_ns;
    ++*(unsigned *)arg;
}

static void a_full_inbox_refuses(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    unsigned calls = 0;
    for (unsigned i = 0; i < VX_LOOP_INBOX; i++)
        assert_true(vx_loop_post(n.loop, count_call, &calls));
    assert_false(vx_loop_post(n.loop, count_call, &calls));
    assert_int_equal(vx_loop_stats(n.loop)->messages_refused, 1);
    vx_test_net_settle(&n);
    assert_int_equal(calls, VX_LOOP_INBOX);
    assert_true(vx_loop_post(n.loop, count_call, &calls));
    vx_test_net_settle(&n);
    assert_int_equal(calls, VX_LOOP_INBOX + 1);
    vx_test_net_end(&n);
}

struct told {
    struct vx_message message;
    unsigned runs, number;
    unsigned *sum;
};

static void run_told(struct vx_message *m, uint64_t now_ns) {
    struct told *t = VX_CONTAINER_OF(m, struct told, message);
    (void)now_ns;
    t->runs++;
    t->number = ++*t->sum;
}

/* Whatever lies in the inbox, in order, and once while it is on its way. */
static void what_is_sent_always_arrives(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    unsigned calls = 0, sum = 0;
    struct told told[3];
    while (vx_loop_post(n.loop, count_call, &calls))
        ;
    for (unsigned i = 0; i < 3; i++)
        told[i] = (struct told){.message = {.run = run_told}, .sum = &sum};
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < 6; i++)
            vx_loop_send(n.loop, &told[i % 3].message);
        vx_test_net_settle(&n);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(told[i].runs, round);
            assert_int_equal(told[i].number, (round - 1) * 3 + i + 1);
        }
    }
    assert_int_equal(calls, VX_LOOP_INBOX);
    vx_test_net_end(&n);
}

static struct {
    struct vx_loop *loop;
    struct vx_message message;
    atomic_uint sent, seen;
} shared_word;

static void take_word(struct vx_message *m, uint64_t now_ns) {
    (void)m, (void)now_ns;
    atomic_store(&shared_word.seen, atomic_load(&shared_word.sent));
    if (atomic_load(&shared_word.seen) == POSTERS * POSTS)
        vx_loop_stop(shared_word.loop);
}

static void *send_many(void *arg) {
    for (unsigned i = 0; i < POSTS; i++) {
        atomic_fetch_add(&shared_word.sent, 1);
        vx_loop_send(shared_word.loop, &shared_word.message);
    }
    return arg;
}

/* One that many send: what was written before the last sending is seen. */
static void a_message_of_many_senders_loses_none(void **state) {
    (void)state;
    struct vx_test_net n;
    pthread_t threads[POSTERS];
    vx_test_net_start(&n);
    shared_word.loop = n.loop;
    shared_word.message.run = take_word;
    for (unsigned i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, NULL), 0);
    vx_loop_run(n.loop);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    vx_test_net_settle(&n);
    assert_int_equal(atomic_load(&shared_word.seen), POSTERS * POSTS);
    vx_test_net_end(&n);
}

static void *stop_it(void *loop) {
    vx_loop_stop(loop);
    return NULL;
}

static void stops_from_another_thread_and_runs_again(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_it, n.loop), 0);
        vx_loop_run(n.loop);
        pthread_join(thread, NULL);
    }
    vx_test_net_end(&n);
}

struct fired {
    struct vx_timer timer;
    struct vx_task task;
    struct vx_retired retired;
    struct vx_test_net *net;
    uint64_t at_ns;
    bool ran, freed;
};

static void run_task(struct vx_task *t, uint64_t now_ns) {
    (void)now_ns;
    VX_CONTAINER_OF(t, struct fired, task)->ran = true;
}

static void free_it(struct vx_retired *r) {
    VX_CONTAINER_OF(r, struct fired, retired)->freed = true;
}

static void fire(struct vx_timer *t, uint64_t now_ns) {
    struct fired *f = VX_CONTAINER_OF(t, struct fired, timer);
    f->at_ns = now_ns;
    f->retired.free = free_it;
    vx_runtime_defer(&f->net->rt, &f->task);
    vx_loop_retire(f->net->loop, &f->retired);
    assert_false(f->freed);
}

static void wakes_for_timers_and_their_tasks(void **state) {
    (void)state;
    struct vx_test_net n;
    vx_test_net_start(&n);
    struct fired f = {.net = &n};
    vx_timer_init(&f.timer, fire);
    vx_task_init(&f.task, run_task);
    uint64_t due_ns = n.rt.now_ns + 20000000;
    vx_timer_set(&n.rt.wheel, &f.timer, due_ns);
    while (!f.at_ns)
        vx_loop_run_once(n.loop, UINT64_MAX);
    assert_true(f.at_ns >= due_ns);
    assert_true(f.freed);
    /* The task was deferred after this round's tasks: the next round does not wait. */
    vx_loop_run_once(n.loop, UINT64_MAX);
    assert_true(f.ran);
    vx_test_net_end(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_events_until_unwatched),
        cmocka_unit_test(an_event_may_end_the_next_one),
        cmocka_unit_test(messages_arrive_once_and_in_order),
        cmocka_unit_test(a_full_inbox_refuses),
        cmocka_unit_test(what_is_sent_always_arrives),
        cmocka_unit_test(a_message_of_many_senders_loses_none),
        cmocka_unit_test(stops_from_another_thread_and_runs_again),
        cmocka_unit_test(wakes_for_timers_and_their_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
