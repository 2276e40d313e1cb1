# SPDX-License-Identifier: Apache-2.0
"""The arithmetic between what the load generator counts and what the table claims."""

import pytest

import report
import scenarios
from processes import BenchError
from scenarios import Outcome


def counted(**changes):
    cpu = {"run_ns": 2_000_000_000, "user_ticks": 50, "system_ticks": 150, "core_busy_ticks": 250,
           "core_steal_ticks": 6, "core_all_ticks": 300}  # fmt: skip
    base = {
        "window_ns": 2_500_000_000,
        "requests": 100_000,
        "body_bytes": 512 * 1024**2,
        "reconnects": 0,
        "errors": {"connect": 0, "status": 3},
        "cpu": cpu,
        "latency_us": {"p50": 1.0, "p99": 2.0, "p999": 3.0, "max": 4.0},
        "lag_us": {"p99": 0.5},
    }
    return {**base, **changes}


def outcome(**figures):
    """outcome(vortex=[6.0, 7.0]): the CPU time of each round."""
    rounds = {peer: [{"cpu_us": v, "per_cpu_second": 1e6 / v} for v in values] for peer, values in figures.items()}
    return Outcome(rounds, {})


def verdict_of(verdicts, start):
    return next(v for v in verdicts if v["target"].startswith(start))


def test_cpu_time_is_divided_by_requests_and_split_by_ticks():
    figures = scenarios.figures_of(counted(), "request")
    assert figures["cpu_us"] == pytest.approx(20.0)
    assert figures["user_us"] == pytest.approx(5.0)
    assert figures["per_cpu_second"] == pytest.approx(50_000)
    assert figures["per_second"] == pytest.approx(40_000)
    assert figures["busy"] == pytest.approx(0.8)
    assert figures["errors"] == 3
    assert figures["steal"] == pytest.approx(0.02)


def test_a_round_in_which_the_load_was_late_is_known():
    assert not scenarios.is_late(scenarios.figures_of(counted(), "request"))
    assert scenarios.is_late(scenarios.figures_of(counted(lag_us={"p99": 1.5}), "request"))


def test_large_bodies_are_counted_by_gib():
    assert scenarios.figures_of(counted(requests=0), "GiB")["cpu_us"] == pytest.approx(4_000_000)


def test_a_run_without_answers_is_no_figure():
    with pytest.raises(BenchError):
        scenarios.figures_of(counted(requests=0, body_bytes=0), "request")


def test_a_ratio_is_of_medians_and_its_spread_of_rounds():
    # The machine is twice as slow in the second round: medians differ, the ratio in each round does not.
    ratio = report.ratios(outcome(vortex=[6.0, 12.0, 6.0], nginx=[9.0, 18.0, 9.0]), "vortex", "nginx", "cpu_us")
    assert ratio == pytest.approx({"median": 6 / 9, "min": 6 / 9, "max": 6 / 9})


def test_no_ratio_to_a_peer_that_was_not_measured():
    assert report.ratios(outcome(vortex=[6.0]), "vortex", "nginx", "cpu_us") is None


@pytest.mark.parametrize(("vortex", "wanted"), [(6.0, "met"), (7.0, "MISSED")])
def test_targets_are_judged_in_their_own_direction(vortex, wanted):
    small = outcome(vortex=[vortex], nginx=[8.4], haproxy=[11.0], relay=[5.0])
    verdicts = report.judge({"small": small}, [])
    assert verdict_of(verdicts, "small GETs: requests per CPU-second against nginx")["verdict"] == wanted
    assert verdict_of(verdicts, "small GETs: CPU time against the relay")["verdict"] == wanted


def test_what_was_not_measured_is_neither_met_nor_missed():
    assert {v["verdict"] for v in report.judge({}, [])} == {"not measured"}


@pytest.mark.parametrize(("unit", "value", "wanted"), [("ps/backend", 390, "met"), ("ns", 0.4, "MISSED")])
def test_micro_benchmarks_are_judged_in_nanoseconds(unit, value, wanted):
    line = {"name": "score_packed_1000", "unit": unit, "median": value, "min": value, "max": value}
    assert verdict_of(report.judge({}, [line]), "packed score")["verdict"] == wanted


def test_a_peer_that_failed_stands_in_the_table_with_its_reason():
    failed = Outcome({"relay": [{"cpu_us": 5.0}]}, {"nginx": "it said nothing"})
    table = report.scenario_table(scenarios.SCENARIOS[0], failed)
    assert "nginx: NOT MEASURED: it said nothing" in table
