package treecache

// #include <treecache.h>
import "C"

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The log that is set, if any.
var logging struct {
	sync.Mutex
	isChosen bool          // by SetLogger; before that, the default is set with the first client
	isOn     bool          // the library writes to the pipe
	pipe     int           // where it does
	done     chan struct{} // closed when the last line of the pipe has been logged
}

// SetLogger sends what the library logs to logger, for all clients of the process, at the levels that logger is enabled
// for now: with one that is enabled for debug lines, these come too. nil switches logging off. Where it was never called,
// [slog.Default] has warnings and errors. It returns when the logger before has got its last line.
//
// The library hands its lines over without waiting. A goroutine of this package takes them to the logger, whose handler
// may therefore do as it likes, but call SetLogger. When it falls behind by more than what a pipe holds (64 KiB), lines
// are left out, and the next one has their number as the attribute "lost". What only says why a call was refused is no line
// of the log: the call has returned it.
//
// Errors: [ErrConnection] when there is no descriptor left.
func SetLogger(logger *slog.Logger) error {
	logging.Lock()
	defer logging.Unlock()
	logging.isChosen = true
	if logger == nil {
		return setLog(0, nil)
	}
	return setLog(leastLevel(logger), func() *slog.Logger { return logger })
}

// logByDefault has warnings and errors logged, unless the program has said what it wants.
func logByDefault() {
	logging.Lock()
	defer logging.Unlock()
	if !logging.isChosen && !logging.isOn {
		// If there is no descriptor left, the client says so.
		_ = setLog(logWarning, slog.Default)
	}
}

// setLog sends lines up to a level to a logger, which is asked for with each line; or switches them off, where it is nil.
func setLog(level C.int32_t, logger func() *slog.Logger) error {
	const op = "set logger"
	wasOn, pipe, done := logging.isOn, logging.pipe, logging.done
	var ends [2]int
	if logger == nil {
		if err := failure(op, "", C.tc_log_set_fd(logError, -1)); err != nil {
			return err
		}
		logging.isOn = false
	} else {
		if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
			return &Error{Op: op, Status: ErrConnection, Message: err.Error()}
		}
		if err := failure(op, "", C.tc_log_set_fd(level, C.int32_t(ends[1]))); err != nil {
			syscall.Close(ends[0])
			syscall.Close(ends[1])
			return err
		}
		logging.isOn, logging.pipe, logging.done = true, ends[1], make(chan struct{})
		go forward(os.NewFile(uintptr(ends[0]), "treecache log"), logger, logging.done)
	}
	if wasOn {
		syscall.Close(pipe) // it is not written to any more
		<-done
	}
	return nil
}

// syslog's levels, as the library uses them
const (
	logError   = 3
	logWarning = 4
	logInfo    = 6
	logDebug   = 7
)

func leastLevel(logger *slog.Logger) C.int32_t {
	switch ctx := context.Background(); {
	case logger.Enabled(ctx, slog.LevelDebug):
		return logDebug
	case logger.Enabled(ctx, slog.LevelInfo):
		return logInfo
	case logger.Enabled(ctx, slog.LevelWarn):
		return logWarning
	}
	return logError
}

func slogLevel(level int) slog.Level {
	switch {
	case level <= logError:
		return slog.LevelError
	case level < logInfo:
		return slog.LevelWarn
	case level < logDebug:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// forward logs the lines that come through the pipe, to its end.
func forward(pipe io.ReadCloser, logger func() *slog.Logger, done chan struct{}) {
	defer close(done)
	defer pipe.Close()
	for in := bufio.NewScanner(pipe); in.Scan(); {
		level, text, lost := parseLine(in.Text())
		var attributes []slog.Attr
		if lost > 0 {
			attributes = append(attributes, slog.Uint64("lost", lost))
		}
		logger().LogAttrs(context.Background(), level, text, attributes...)
	}
}

// parseLine takes a line apart: "<4>text", or "<4>(2 lines lost) text".
func parseLine(line string) (level slog.Level, text string, lost uint64) {
	number, text, _ := strings.Cut(strings.TrimPrefix(line, "<"), ">")
	syslog, _ := strconv.Atoi(number)
	if count, rest, found := strings.Cut(text, " lines lost) "); found {
		if n, err := strconv.ParseUint(strings.TrimPrefix(count, "("), 10, 64); err == nil {
			lost, text = n, rest
		}
	}
	return slogLevel(syslog), text, lost
}
