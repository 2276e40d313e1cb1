/* SPDX-License-Identifier: Apache-2.0 */
/* `bans`: its defaults, its keys, what contradicts itself, and that `off` leaves its neighbours alone. */
#include "admin/yaml/finish.h"

#include "yaml_test.h"

#define IN_BANS "listeners: [{address: '127.0.0.1:8443'}]\n" ROUTE "bans: %s\n"

static void defaults(void **state) {
    (void)state;
    struct vx_config *config = must_read(fill(IN_BANS, "%s", "on"));
    const struct vx_config_bans *b = &config->bans;
    assert_true(b->enabled);
    assert_int_equal(b->after, 5);
    assert_int_equal(b->within_ns, 10000000000u);
    assert_int_equal(b->duration_ns, 60000000000u);
    assert_int_equal(b->max_duration_ns, 3600000000000u);
    assert_int_equal(b->sweep_interval_ns, 5000000000u);
    assert_int_equal(b->interface.len + b->never_count + b->xdp.drop_count + b->xdp.spare_count, 0);
    assert_slice(b->xdp.pin, "/sys/fs/bpf/vortex");
    assert_int_equal(b->xdp.mode, VX_XDP_AUTO);
    vx_config_free(config);
}

static void everything(void **state) {
    (void)state;
    struct vx_config *config = must_read(
        fill(IN_BANS, "%s",
             "{after: 1, within: 1s, duration: 2h, interface: eth0.7, never: [10.0.0.0/8, '::1'],\n"
             " xdp: {mode: generic, keep_attached: true, pin: /run/bpf, drop: [192.0.2.0/24], spare: "
             "[192.0.2.1],\n"
             "  malformed: true, fragments: true, amplification: true, amplification_ports: [53, 65535],\n"
             "  syn_rate: 1, udp_rate: 2, connection_rate: 3}}"));
    const struct vx_config_bans *b = &config->bans;
    assert_int_equal(b->after, 1);
    assert_int_equal(b->max_duration_ns, b->duration_ns); /* its default, 1h, is shorter */
    assert_slice(b->interface, "eth0.7");
    assert_int_equal(b->never_count, 2);
    assert_int_equal(b->never[0].bits, 8);
    assert_int_equal(b->xdp.mode, VX_XDP_GENERIC);
    assert_true(b->xdp.keep_attached && b->xdp.malformed && b->xdp.fragments && b->xdp.amplification);
    assert_slice(b->xdp.pin, "/run/bpf");
    assert_int_equal(b->xdp.drop_count, 1);
    assert_int_equal(b->xdp.spare[0].bits, 32);
    assert_int_equal(b->xdp.amplification_port_count, 2);
    assert_int_equal(b->xdp.amplification_ports[1], 65535);
    assert_int_equal(b->xdp.syn_rate, 1);
    assert_int_equal(b->xdp.udp_rate, 2);
    assert_int_equal(b->xdp.connection_rate, 3);
    vx_config_free(config);
}

static void off(void **state) {
    (void)state;
    struct vx_config *config = must_read(
        fill(IN_BANS "trusted_proxies: [10.0.0.0/8]\nmetrics: {address: '127.0.0.1:1'}\n", "%s", "off"));
    static const struct vx_config_bans nothing;
    assert_memory_equal(&config->bans, &nothing, sizeof nothing);
    assert_int_equal(config->trusted_proxy_count, 1);
    assert_int_equal(config->metrics_address.port, 1);
    vx_config_free(config);
}

static void refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"{after: @@0}", "a whole number from 1 to 10000"},
        {"{within: @@1ms}", "a duration from 10ms to 1d"},
        {"{duration: 1m, max_duration: @@59s}", "must not be shorter than `duration`"},
        {"{interface: @@'eth 0'}", "the name of a network interface"},
        {"{interface: @@a/b}", "the name of a network interface"},
        {"{interface: @@abcdefghijklmnop}", "the name of a network interface"},
        {"{never: [@@10.0.0.0/33]}", "an IP address or a prefix"},
        {"{xdp: @@{malformed: true}}", "`xdp` does nothing without the `interface`"},
        {"{interface: e, xdp: {mode: @@fast}}", "`auto`, `native` or `generic`"},
        {"{interface: e, xdp: {pin: @@here}}", "`off`, or the absolute path"},
        {"{interface: e, xdp: {pin: off, keep_attached: @@true}}", "needs `pin`"},
        {"{interface: e, xdp: {amplification_ports: @@[53]}}", "does nothing without `amplification: true`"},
        {"{interface: e, xdp: {amplification: true, amplification_ports: [@@0]}}", "from 1 to 65535"},
        {"{interface: e, xdp: {syn_rate: @@1000001}}", "from 0 to 1000000"},
        {"{@@durations: 1s}", "did you mean `duration`?"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        must_refuse(fill(IN_BANS, "%s", bad[i][0]), bad[i][1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything),
        cmocka_unit_test(off),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
