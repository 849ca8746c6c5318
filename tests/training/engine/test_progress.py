from __future__ import annotations

from io import StringIO

from rich.console import Console

from keyfpn.training.engine.progress import TrainingProgress


def test_it_shows_the_step_the_means_of_the_losses_and_the_part_that_is_done() -> None:
    output = StringIO()
    console = Console(file=output, force_terminal=True, width=160, color_system=None)
    with TrainingProgress(console, step=7, done=0.5, batch=4) as progress:
        progress.advance(0.6, losses={"loss": 3.0, "rate": 1.0}, learning_rate=1e-3)
        progress.advance(0.75, losses={"loss": 1.0, "rate": 0.5}, learning_rate=5e-4)
        progress.doing("evaluating")
    shown = output.getvalue()
    assert "75 %" in shown
    assert "step 9" in shown
    assert "loss 2.000  rate 0.750  lr 5.0e-04" in shown
    assert "pictures/s" in shown
    assert "evaluating" in shown
