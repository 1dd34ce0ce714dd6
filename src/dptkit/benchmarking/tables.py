"""A measurement as tables for people."""

from __future__ import annotations

from dptkit.benchmarking.bench import WHOLE, Bench, Measured
from dptkit.benchmarking.statistics import Median
from dptkit.evaluation.tables import Table

_HEADER = ("", "p50 ms", "p90 ms", "p99 ms", "mean ms", "share", "images/s")


def tables_of(bench: Bench) -> list[Table]:
    """One for each setting that was measured, then one of comparisons if there are several settings."""
    tables = [_latencies(bench, one) for one in bench.settings.values() if one.timings]
    if tables:
        tables[0] = Table((*_title(bench), *tables[0].title), *_rest(tables[0]))
    rows = tuple(
        (f"{comparison.first} against {comparison.other}", _ratio(comparison.predict), _ratio(comparison.whole))
        for comparison in bench.comparisons()
    )
    if rows:
        notes = ("Times as fast: median of the ratios of batches that ran in turn, with its 95% interval.",)
        tables.append(Table((), ("", "predict", WHOLE), rows, notes))
    return tables


def _rest(table: Table) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...]]:
    return table.header, table.rows, table.notes


def _title(bench: Bench) -> tuple[str, ...]:
    around = bench.around
    sizes = sorted({batch.network_size for batch in bench.batches})
    shown = ", ".join(f"{height}x{width}" for height, width in sizes[:3]) + (", ..." if len(sizes) > 3 else "")
    versions = ", ".join(f"{name} {number}" for name, number in around.versions.items())
    threads = "".join(f", {name} {number}" for name, number in around.threads.items())
    load = "" if around.load is None else f"; load {around.load:.2f}"
    return (
        f"{bench.model}, network input {shown} (height x width), batch {bench.batch_size}",
        f"{around.machine}{'; threads' + threads[1:] if threads else ''}{load}",
        versions,
    )


def _latencies(bench: Bench, one: Measured) -> Table:
    backend, latencies = one.predictor.backend, one.latencies()
    whole = latencies[WHOLE].mean
    rows = tuple(
        (
            stage,
            *(f"{1e3 * value:.2f}" for value in (found.p50, found.p90, found.p99, found.mean)),
            f"{found.mean / whole:.0%}",
            f"{bench.batch_size / found.mean:.1f}",
        )
        for stage, found in latencies.items()
    )
    title = f"engine {backend.engine}, precision {backend.precision}, device {backend.device}"
    return Table((title,), _HEADER, rows, tuple(_notes(one)))


def _notes(one: Measured) -> list[str]:
    count = len(one.timings)
    notes = [
        f"{count} batch{'es' * (count != 1)}, one after the other; predict keeps {one.cores() or 0:.1f} cores busy"
    ]
    if count < 100:
        notes[0] += "; p99 of fewer than 100 is near the slowest"
    own = one.own_process
    if own is not None:
        notes.append(
            f"start-up {own.start_up_s:.2f} s (Python and imports {own.imports_s:.2f} s), "
            f"first prediction {own.first_prediction_s:.2f} s"
        )
        parts = []
        if own.memory_mb is not None and own.import_mb is not None:
            parts.append(f"{own.memory_mb:.0f} MB above the {own.import_mb:.0f} MB after imports")
        if own.gpu_mb is not None:
            parts.append(f"{own.gpu_mb:.0f} MB on the GPU")
        notes.append(f"peak memory {', '.join(parts) or 'unknown on this system'}")
    elif one.problem is not None:
        notes.append(f"start-up and memory not measured: {one.problem}")
    return notes


def _ratio(found: Median) -> str:
    return f"{found.value:.2f}x ({found.low:.2f} to {found.high:.2f})"
