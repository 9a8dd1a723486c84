package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestWorst(t *testing.T) {
	tests := []struct {
		codes []int
		want  int
	}{
		{nil, 0},
		{[]int{0, 0}, 0},
		{[]int{0, 4}, 4},
		{[]int{4, 3}, 3},
		{[]int{3, 4, 0}, 3},
		{[]int{3, 1}, 1},
		{[]int{1, 3, 4}, 1},
		{[]int{1, 64, 3}, 64},
		{[]int{64, 130, 1}, 130},
		{[]int{2}, 1},
		{[]int{2, 3}, 1},
		{[]int{-1, 0}, 1},
	}
	for _, tt := range tests {
		if got := Worst(tt.codes...); got != tt.want {
			t.Errorf("Worst(%v) = %d, want %d", tt.codes, got, tt.want)
		}
	}
}

func TestCode(t *testing.T) {
	rejected := Rejectedf("read soa/example.org: no such file")
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"plain", io.EOF, 1},
		{"usage", Usagef("unknown command %q", "bild"), 64},
		{"rejected", rejected, 3},
		{"no", Nof("verify signed/example.org: bogus"), 4},
		{"code alone", Exit(ExitRejected), 3},
		{"code 0", Exit(ExitOK), 0},
		{"nil with code", WithCode(ExitNo, nil), 0},
		{"with code", WithCode(ExitNo, io.EOF), 4},
		{"wrapped", fmt.Errorf("build example.org.: %w", rejected), 3},
		{"outermost wins", WithCode(ExitFailed, fmt.Errorf("x: %w", rejected)), 1},
		{"cancelled", fmt.Errorf("publish: %w", context.Canceled), 130},
		{"deadline is a failure", context.DeadlineExceeded, 1},
		{"typed code over cancelled", WithCode(ExitFailed, context.Canceled), 1},
		{"joined", errors.Join(Nof("no"), rejected), 3},
		{"joined with plain", errors.Join(rejected, io.EOF), 1},
		{"joined plain", errors.Join(io.EOF, io.EOF), 1},
		{"joined and cancelled", errors.Join(rejected, context.Canceled), 130},
		{"joined deep", fmt.Errorf("x: %w", errors.Join(fmt.Errorf("y: %w", Nof("no")), nil)), 4},
	}
	for _, tt := range tests {
		if got := Code(tt.err); got != tt.want {
			t.Errorf("%s: Code = %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	err := fmt.Errorf("build: %w", WithCode(ExitRejected, io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	var e *Error
	if !errors.As(err, &e) || e.Code != ExitRejected {
		t.Errorf("errors.As: %v", e)
	}
	if got := err.Error(); got != "build: unexpected EOF" {
		t.Errorf("text: %q", got)
	}
	for code, want := range map[int]string{
		ExitFailed: "failed", ExitRejected: "some input was rejected", ExitNo: "checked, and the answer is no",
		ExitUsage: "wrong usage", ExitInterrupted: "interrupted",
	} {
		if got := Exit(code).Error(); got != want {
			t.Errorf("Exit(%d) says %q, want %q", code, got, want)
		}
	}
}
