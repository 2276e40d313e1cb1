/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that the simulator can fail: each mischief is planted in a world of its own, in a child process, which has to
 * end with the right complaint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/suite.h"

static const struct {
    enum sim_mischief mischief;
    const char *name, *scenario, *complaint;
} cases[] = {
    {SIM_WRONG_BYTE, "a backend sends a wrong byte", "calm", "of its answer is wrong"},
    {SIM_WRONG_REQUEST_BYTE, "the wire changes a byte of a request", "calm", ""},
    {SIM_TWICE, "a POST is delivered twice", "calm", "was delivered 2 times"},
    {SIM_NO_ANSWER, "a backend does not answer", "calm", "nobody was slow"},
    {SIM_TWO_ANSWERS, "a backend answers twice", "plain", ""},
    {SIM_SHORT_ANSWER, "an answer looks whole and is not", "calm", "looks whole"},
    {SIM_LEAK, "a chunk is not given back", "plain", "not given back"},
    {SIM_LOST_RECORD, "an exchange is not recorded", "plain", "recorded 0 times"},
    {SIM_LOST_EDGE, "a readiness event is lost", "plain", ""},
    {SIM_BLAME, "a backend breaks where none may", "plain", ""},
    {SIM_WRONG_BYTE, "a wrong byte from a backend of HTTP/2", "h2-backends", "of its answer"},
    {SIM_TWICE, "a POST is delivered twice over HTTP/2", "h2-backends", "was delivered 2 times"},
    {SIM_NO_ANSWER, "a backend of HTTP/2 does not answer", "h2-backends", "nobody was slow"},
    {SIM_BLAME, "a backend of HTTP/2 resets where none may", "h2-backends", ""},
};

/* Runs one in a child. True: it complained as it should. */
static bool notices(enum sim_mischief mischief, const char *scenario, const char *complaint, char *said,
                    size_t room) {
    int fds[2];
    if (pipe(fds) < 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        close(fds[0]);
        dup2(fds[1], STDERR_FILENO);
        const struct scenario *s = scenario_find(scenario);
        struct sim_options options = {.scenario = s, .seed = 99, .exchanges = 200, .mischief = mischief};
        sim_run(&options);
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    for (ssize_t n; len + 1 < room && (n = read(fds[0], said + len, room - 1 - len)) > 0;)
        len += (size_t)n;
    said[len] = '\0';
    close(fds[0]);
    int status;
    if (waitpid(child, &status, 0) != child)
        abort();
    return WIFEXITED(status) && WEXITSTATUS(status) == 1 && strstr(said, complaint) &&
           strstr(said, "replay: ");
}

void suite_self_test(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char said[4096];
        if (notices(cases[i].mischief, cases[i].scenario, cases[i].complaint, said, sizeof said))
            continue;
        fprintf(stderr, "vortex_sim: self-test: %s, and it went unnoticed; it said:\n%s\n", cases[i].name,
                said);
        exit(1);
    }
    printf("self-test: %zu planted faults were noticed\n", sizeof cases / sizeof *cases);
}
