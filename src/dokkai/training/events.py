"""An event file for TensorBoard, written at once: a full disk is noticed by the caller, not by a thread."""

import io
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class EventFile:
    """A new file of scalars beside those of earlier starts; ``first_step`` and later ones in them no longer count."""

    def __init__(self, directory: Path, first_step: int) -> None:
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._path = directory / name
        self._append(
            Event(wall_time=time.time(), file_version="brain.Event:2"),
            Event(wall_time=time.time(), step=first_step, session_log=SessionLog(status=SessionLog.START)),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one event with all values; OSError if it cannot be written."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def _append(self, *events: Event) -> None:
        block = io.BytesIO()
        for event in events:
            RecordWriter(block).write(event.SerializeToString())
        with self._path.open("ab", buffering=0) as file:
            file.write(block.getvalue())
