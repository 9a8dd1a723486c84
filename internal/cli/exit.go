// Package cli holds what both programs say to the shell: exit codes, the order
// of the words on a command line, the printing of faults and reports, the
// logger and the version.
//
// It knows no command and no command-line library: only cmd/ imports that one,
// and derives an ArgSpec from its own commands. It never ends the process.
package cli

import (
	"context"
	"errors"
	"fmt"
)

// Exit codes. They are part of the interface and never change their meaning;
// 2 is left to the Go runtime, which ends a crashed program with it.
const (
	ExitOK          = 0   // done; a dropped guest fragment alone is no failure
	ExitFailed      = 1   // failed, a retry may help
	ExitRejected    = 3   // some input rejected, the rest is done; a retry does not help
	ExitNo          = 4   // checked, and the answer is no
	ExitUsage       = 64  // the command line is wrong (EX_USAGE of sysexits.h)
	ExitInterrupted = 130 // ended by a signal, as a shell reports SIGINT
)

// Worst gives the one code that stands for all: 130 and 64 end a run as they
// are, then 1 over 3 over 4 over 0. A code that is none of ours counts as 1.
func Worst(codes ...int) int {
	worst := ExitOK
	for _, c := range codes {
		if rank(c) > rank(worst) {
			worst = c
		}
	}
	if rank(worst) == rank(ExitFailed) {
		return ExitFailed
	}
	return worst
}

func rank(code int) int {
	switch code {
	case ExitOK:
		return 0
	case ExitNo:
		return 1
	case ExitRejected:
		return 2
	case ExitUsage:
		return 4
	case ExitInterrupted:
		return 5
	}
	return 3
}

// Error is an error that knows its exit code. With a nil Err all has been said
// already, so that nothing more is printed as text.
type Error struct {
	Code int
	Err  error
}

// Error gives the cause, or what the code means when there is none.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return meaning(e.Code)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func meaning(code int) string {
	switch code {
	case ExitRejected:
		return "some input was rejected"
	case ExitNo:
		return "checked, and the answer is no"
	case ExitUsage:
		return "wrong usage"
	case ExitInterrupted:
		return "interrupted"
	}
	return "failed"
}

// Exit is an error that only carries a code: the faults have been printed, the
// exit code is what is left to say. Exit(ExitOK) is nil.
func Exit(code int) error {
	if code == ExitOK {
		return nil
	}
	return &Error{Code: code}
}

// WithCode gives err the exit code. A nil err stays nil.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// Usagef is a fault of the command line (exit 64).
func Usagef(format string, args ...any) error {
	return &Error{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// Rejectedf is a fault of the input (exit 3).
func Rejectedf(format string, args ...any) error {
	return &Error{Code: ExitRejected, Err: fmt.Errorf(format, args...)}
}

// Nof is the definite answer no (exit 4).
func Nof(format string, args ...any) error {
	return &Error{Code: ExitNo, Err: fmt.Errorf(format, args...)}
}

// Code gives the exit code of err: that of the outermost Error in its chain,
// the worst one where errors were joined, 130 for a cancelled context, else 1.
func Code(err error) int {
	if err == nil {
		return ExitOK
	}
	if code, ok := find(err); ok {
		return code
	}
	if errors.Is(err, context.Canceled) {
		return ExitInterrupted
	}
	return ExitFailed
}

// find is errors.As for an Error, but it looks into every branch of joined
// errors: As would stop at the first and hide a worse one beside it.
func find(err error) (code int, ok bool) {
	for err != nil {
		if e, is := err.(*Error); is {
			return e.Code, true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			return worstBranch(e.Unwrap())
		default:
			return 0, false
		}
	}
	return 0, false
}

func worstBranch(errs []error) (code int, ok bool) {
	for _, err := range errs {
		_, coded := find(err)
		ok = ok || coded
		code = Worst(code, Code(err))
	}
	return code, ok
}
