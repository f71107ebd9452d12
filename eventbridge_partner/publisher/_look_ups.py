"""Runs the look-ups of a publisher, on threads of their own."""

from __future__ import annotations

import threading
from typing import TypeVar

from eventbridge_partner._plans import Running
from eventbridge_partner.guard._plan import Call, InTurn, Look, Plan, Step
from eventbridge_partner.publisher._gate import MOST_LOOK_UPS, Gate, Lanes
from eventbridge_partner.sources import Sources

T = TypeVar("T")


class LookUps:
    """
    Does the work of a gate, on threads that end when there is none.

    Args:
        gate: Has the work.
        lanes: Where events wait for it.
        sources: Looks up states.
    """

    def __init__(self, gate: Gate, lanes: Lanes, sources: Sources) -> None:
        self._gate = gate
        self._lanes = lanes
        self._sources = sources
        self._lock = threading.RLock()
        self._running = 0

    def begin(self) -> None:
        """Start threads for the gate's work, without waiting for it."""
        with self._lock:
            for _ in range(min(self._gate.todo, MOST_LOOK_UPS - self._running)):
                # A daemon: a look-up that hangs must not keep the process alive.
                thread = threading.Thread(
                    target=self._run, name="eventbridge-partner-look-ups", daemon=True
                )
                self._running += 1
                try:
                    thread.start()
                except RuntimeError:  # the process is ending
                    self._running -= 1
                    break
            has_threads = self._running > 0
        if not has_threads:
            self._gate.give_up(self._lanes)

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._gate.todo:
                        self._running -= 1
                        return
                self._carry_out(self._gate.work(self._lanes))
        except BaseException:
            with self._lock:
                self._running -= 1
            raise

    def _carry_out(self, plan: Plan[T]) -> T:
        running = Running(plan)
        while (step := running.step) is not None:
            try:
                value = self._do(step)
            except Exception as error:  # noqa: BLE001  # the plan raises unknown errors
                running.fail(error)
            else:
                running.go_on(value)
        return running.result

    def _do(self, step: Step) -> object:
        match step:
            case InTurn(_, plan):
                return self._carry_out(plan)  # a gate looks up each source once at a time
            case Look(source, seconds):
                return list(self._sources.accounts(source, timeout=seconds))
            case Call(hook, value):
                try:
                    return hook(value)
                except Exception:
                    raise
                except (
                    BaseException
                ) as error:  # sys.exit in a user's function must not end this thread
                    raise RuntimeError(type(error).__name__) from error
