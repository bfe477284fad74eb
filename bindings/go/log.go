package treecache

// #include "bridge.h"
import "C"

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"unsafe"
)

// The log that is set, if any.
var logging struct {
	sync.Mutex
	log  *C.tcgo_log
	done chan struct{} // closed when its last line has been logged
}

// SetLogger sends what the library logs to logger, for all clients of the process, at the levels that logger is enabled
// for now. nil switches logging off, as it is at first. It returns when the logger before has got its last line.
//
// The library hands its lines over without waiting. A goroutine of this package takes them to the logger, whose handler
// may therefore do as it likes, but call SetLogger. When it falls behind by more than what a pipe holds (64 KiB), lines
// are left out, and the next one has their number as the attribute "lost".
//
// Errors: [ErrConnection] when there is no descriptor left.
func SetLogger(logger *slog.Logger) error {
	const op = "set logger"
	logging.Lock()
	defer logging.Unlock()

	var log *C.tcgo_log
	var done chan struct{}
	if logger == nil {
		if err := failure(op, "", C.tc_log_set(logError, nil, nil)); err != nil {
			return err
		}
	} else {
		var fd C.int
		if log = C.tcgo_log_new(&fd); log == nil {
			return &Error{Op: op, Status: ErrConnection, Message: "no descriptor"}
		}
		if err := failure(op, "", C.tcgo_log_set(leastLevel(logger), log)); err != nil {
			C.tcgo_log_free(log)
			os.NewFile(uintptr(fd), "").Close()
			return err
		}
		done = make(chan struct{})
		go forward(os.NewFile(uintptr(fd), "treecache log"), logger, done)
	}

	if logging.log != nil {
		C.tcgo_log_free(logging.log) // it is not called any more
		<-logging.done
	}
	logging.log, logging.done = log, done
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

func slogLevel(level C.uint16_t) slog.Level {
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
func forward(pipe *os.File, logger *slog.Logger, done chan struct{}) {
	defer close(done)
	defer pipe.Close()
	in := bufio.NewReader(pipe)
	for {
		var record C.tcgo_log_record
		header := unsafe.Slice((*byte)(unsafe.Pointer(&record)), unsafe.Sizeof(record))
		if _, err := io.ReadFull(in, header); err != nil {
			return
		}
		line := make([]byte, record.length)
		if _, err := io.ReadFull(in, line); err != nil {
			return
		}
		var attributes []slog.Attr
		if record.lost > 0 {
			attributes = append(attributes, slog.Uint64("lost", uint64(record.lost)))
		}
		logger.LogAttrs(context.Background(), slogLevel(record.level), string(line), attributes...)
	}
}
