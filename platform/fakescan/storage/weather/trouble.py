"""One object's failures: whether it is asked for again, is at fault itself, or its store has been away for too long."""

import asyncio
import random
import time
from typing import Generic, TypeVar

from fakescan.errors import JobFailedError
from fakescan.storage.errors import classify, http_status, root_cause
from fakescan.storage.weather.faults import Fault, fault_of, is_settled_certificate, retry_after
from fakescan.storage.weather.record import Probe, StoreRecord
from fakescan.storage.weather.waits import WAITS
from fakescan.telemetry.metric import Counter
from fakescan.terminal.duration import duration

R = TypeVar("R")

FAULTS = Counter(
    "fakescan_store_faults",
    "Requests that failed by no fault of their object, by kind: later (throttled or overloaded), "
    "broken (the store failed, or the connection broke off), unreachable, credentials, denied.",
    "kind",
)

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.3, 10.0
_MIN_SECONDS = {Fault.LATER: 60.0}
"""An object of a store is not given up earlier when the store asks for patience: it may be one busy part of it."""
_OTHER_MIN_SECONDS = 10.0
_HOST_PATIENCE_S = 60.0
"""For so long a host of the web that has answered before is waited for, while other hosts answer."""
_IMPLAUSIBLE = 1e-9
_IMPLAUSIBLE_ON_THE_WEB = 1e-4
"""An object is at fault when its failures would be less likely than this, did it fail as often as others do."""
_MIN_SHARE = 0.005
_FAIR_SAMPLE = 4
_SAY_S = 3.0
"""Nobody is told of a shorter wait."""


class StoreAwayError(JobFailedError):
    """A store was waited for as long as patience lasted. The run can be resumed."""


class Trouble(Generic[R]):
    """The failures of one object.

    A failure counts against the object only when its store has answered something else afterwards. It is at fault once
    it has failed so often that chance does not explain it: with a share `p` of failures among the store's other
    answers meanwhile, `n` failures in a row have the probability `p ** n`. So a store that fails every request is
    waited for, one that fails nine of ten is asked on, and a bad object ends after a few tries.

    A host of the web that answers nothing while others answer is at fault itself, and so are its objects.

    `attempts`: requests after which an object may be given up. `patience_s`: for how long a store is waited for that
    answers nothing; 0: not at all, and `attempts` is all there is.
    """

    def __init__(self, record: StoreRecord[R], probe: Probe[R], *, attempts: int, patience_s: float) -> None:
        self.tries = 0
        self._record, self._probe = record, probe
        self._attempts, self._patience_s = attempts, patience_s
        self._counted = 0
        self._began = time.monotonic()
        self._sound_before = self._failed_before = 0
        self._is_waiting = False
        self._sent_at = self._began

    async def goes_on(self, error: Exception, sent_at: float) -> bool:
        """Waits, and returns whether to ask again; else the object is at fault. Raises `StoreAwayError`."""
        fault = fault_of(error)
        self.tries += 1
        self._sent_at = sent_at
        if fault is Fault.OBJECT or (is_settled_certificate(error) and not self._is_of_a_patient_store):
            return False
        FAULTS.add(1, kind=fault.name.lower())
        if not self._patience_s:
            return await self._goes_on_without_patience(fault)
        if fault is Fault.DENIED:
            return self._is_of_a_patient_store and await self._is_denied_to_all(error)
        failed_at, wish = time.monotonic(), retry_after(error)
        self._note(error, fault, wish)
        if self._record.web is not None:
            return await self._goes_on_on_the_web(error, wish or 0.0, failed_at)
        if wish is not None and wish >= _SAY_S:
            self._say(f"{classify(error)[1]} (asks for {duration(wish)})", failed_at)
        await self._pause(wish or 0.0)
        if not await self._record.is_answering(failed_at, self._probe):
            self._wait(error)
            return True
        self._counted += 1
        min_seconds = _MIN_SECONDS.get(fault, _OTHER_MIN_SECONDS)
        return self._seconds < min_seconds or not self._is_implausible(_IMPLAUSIBLE)

    def end(self) -> None:
        """The object is fetched, or given up."""
        if self._is_waiting:
            WAITS.end(self._record.name, answered=False)

    @property
    def _is_of_a_patient_store(self) -> bool:
        return self._record.web is None and self._patience_s > 0

    def _note(self, error: Exception, fault: Fault, wish: float | None) -> None:
        """Enter the failure into the store's record, and slow down if it is one of load or of the connection."""
        record = self._record
        record.failure(first_try=self.tries == 1)
        if self.tries == 1:
            self._sound_before, self._failed_before = record.sound, record.failed
        is_lost = fault is Fault.BROKEN and http_status(root_cause(error)) is None
        if (fault in (Fault.LATER, Fault.UNREACHABLE) or is_lost) and not record.is_given_up:
            record.limiter.failed(self._sent_at, record.quiet_s(time.monotonic()), wish)

    async def _goes_on_without_patience(self, fault: Fault) -> bool:
        if fault in (Fault.DENIED, Fault.CREDENTIALS) or self.tries >= self._attempts:
            return False
        await self._pause(0.0)
        return True

    async def _is_denied_to_all(self, error: Exception) -> bool:
        """Whether access is denied to what was read before as well; then it is waited for."""
        record = self._record
        if record.good is None:
            return False  # nothing was read before, and nothing could be asked for as a probe
        was_troubled = record.troubled_at is not None or self._sent_at <= record.recovered_at
        if await record.is_answering(time.monotonic(), self._probe):
            self._counted += 1  # it may have been asked for when all was denied
            return was_troubled and self._counted < self._attempts
        record.failure(first_try=False)
        self._wait(error)
        await self._pause(0.0)
        return True

    async def _goes_on_on_the_web(self, error: Exception, wish: float, failed_at: float) -> bool:
        host, web = self._record, self._record.web
        assert web is not None
        is_last = self.tries >= (1 if host.is_given_up else self._attempts)
        if not web.has_answered:
            if is_last:
                host.give_up()
            else:
                await self._pause(min(wish, _MAX_PAUSE_S))
            return not is_last
        if wish <= _HOST_PATIENCE_S:
            if not is_last:
                await self._pause(wish)
            if await host.is_answering(failed_at, self._probe):
                self._counted += 1
                return self._seconds < _HOST_PATIENCE_S and not self._is_implausible(_IMPLAUSIBLE_ON_THE_WEB)
        if await web.is_answering(failed_at, self._probe, but=host):
            is_new = host.has_answered and not host.is_given_up and self._seconds < _HOST_PATIENCE_S
            if wish <= _HOST_PATIENCE_S and (not is_last or is_new):
                if is_last:
                    await self._pause(wish)
                return True
            host.give_up()
            return False
        self._wait(error)
        await self._pause(wish)
        return True

    def _wait(self, error: Exception) -> None:
        """Nothing answers: say so, and end the scan when it has lasted too long."""
        record, reason, now = self._record, classify(error)[1], time.monotonic()
        of = record if record.web is None else record.web
        since = max(of.answered_at, self._began)
        if now - since > self._patience_s:
            raise StoreAwayError(
                f"waited for the store for {duration(now - since)}: {record.name}: {reason}; what is done stays, "
                "and the same command resumes"
            )
        record.limiter.failed(self._sent_at, now - since)  # whatever it was: everybody would ask again and again
        if now - since >= _SAY_S:
            self._say(reason, since)

    def _say(self, reason: str, since: float) -> None:
        self._is_waiting = True
        WAITS.waiting(self._record.name, reason, since)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _is_implausible(self, limit: float) -> bool:
        if self._counted < self._attempts:
            return False
        sound, failed = self._meanwhile()
        share = max((failed + 1) / (sound + failed + 1), _MIN_SHARE)
        return bool(share**self._counted <= limit)

    def _meanwhile(self) -> tuple[int, int]:
        """Others' answers and failures since this object's first failure."""
        return self._record.sound - self._sound_before, self._record.failed - self._failed_before

    async def _pause(self, wish: float) -> None:
        """The more of the others fail, the less it is this object that needs a pause: the limiter makes it."""
        sound, failed = self._meanwhile()
        share = failed / (sound + failed) if sound + failed >= _FAIR_SAMPLE else 0.0
        pause = min(_FIRST_PAUSE_S * 2 ** min(self.tries - 1, 10), _MAX_PAUSE_S) * (1 - share) ** 2
        await asyncio.sleep(max(pause * random.uniform(0.5, 1.5), wish))
