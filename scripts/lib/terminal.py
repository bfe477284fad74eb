"""A terminal without a screen: runs a program in it, presses keys, and knows what would be seen.

What it shows is worked out by pyte, whose `screen` has every character with its colours.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte

PATIENCE_S = 30  # nothing takes that long


class Terminal:
    def __init__(self, command, columns=100, rows=30, **environment):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.output = b""
        self.exit_code = None
        # The other side stays open here, to ask for its settings also when the program is gone.
        self.keyboard, self.side = pty.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(self.side)
        self.shell = os.fork()
        if self.shell == 0:
            self.be_a_shell(command, {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment})

    def be_a_shell(self, command, environment):
        """In the child: what a shell is to its foreground job, without which that could not be stopped."""
        code = 127
        try:
            os.setsid()
            fcntl.ioctl(self.side, termios.TIOCSCTTY, 0)
            for descriptor in range(3):
                os.dup2(self.side, descriptor)
            # With the keyboard in its hands, it would not notice that this side has gone.
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            job = os.fork()
            if job == 0:
                os.setpgid(0, 0)
                os.tcsetpgrp(0, os.getpid())
                signal.signal(signal.SIGTTOU, signal.SIG_DFL)
                os.execvpe(command[0], command, {**os.environ, **environment})
            code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]) & 0xFF
        finally:
            os._exit(code)

    @property
    def pid(self):
        """The program's; it is the foreground job."""
        return os.tcgetpgrp(self.keyboard)

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.keyboard, keys.encode())

    def look(self, seconds=0.05):
        """Takes in what the program writes within that time, and what is there then."""
        end = time.monotonic() + seconds
        while select.select([self.keyboard], [], [], max(0, end - time.monotonic()))[0]:
            piece = os.read(self.keyboard, 65536)
            self.output += piece
            self.stream.feed(piece)

    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    def text(self):
        return "\n".join(self.lines())

    def wait_until(self, what, condition):
        """Looks until the condition, told in words, holds; returns what it answers."""
        end = time.monotonic() + PATIENCE_S
        while not (answer := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"not seen: {what}\n{self.text()}")
            self.look()
        return answer

    def has_ended(self):
        if self.exit_code is None:
            pid, status = os.waitpid(self.shell, os.WNOHANG)
            if pid != 0:
                self.look(0)
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def is_as_before(self):
        return termios.tcgetattr(self.side) == self.settings

    def end(self):
        """Whatever the program is doing."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait_until("the end", self.has_ended)
        os.close(self.keyboard)
        os.close(self.side)
