package nsd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

const maxQuoted = 200 // octets of a line in a message

// CheckError is what nsd-checkzone found. The file is a staged one that is gone
// soon after, so the error carries the line itself.
type CheckError struct {
	Checker string // the program
	Fault   string // its first complaint, without the place
	Line    int    // of the file, from 1; 0 if the complaint is about the whole
	Text    string // the line, shortened
	More    int    // further complaints
}

// Error names the checker, the line and the complaint.
func (e *CheckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s refuses the zone: ", filepath.Base(e.Checker))
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	b.WriteString(diag.Escape(e.Fault))
	if e.Text != "" {
		fmt.Fprintf(&b, " (%s)", diag.Escape(e.Text))
	}
	if e.More > 0 {
		fmt.Fprintf(&b, " (and %d more)", e.More)
	}
	return b.String()
}

// Check runs nsd-checkzone over a staged file. Errors: *CheckError when it
// refuses the file; any other means that it could not be asked.
func (s *Server) Check(ctx context.Context, apex domain.Name, file string) error {
	if s.Checkzone == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, s.Checkzone, zoneName(apex), file)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("run %s: %w", s.Checkzone, ctx.Err())
	case !errors.As(err, &exit):
		return fmt.Errorf("run %s: %w (publish.checkzone = \"\" turns the check off)", s.Checkzone, err)
	case !exit.Exited():
		return fmt.Errorf("run %s: %w", s.Checkzone, err)
	}
	return s.complaint(string(out), file)
}

// complaint finds the first fault in lines such as
//
//	[2026-11-21 04:02:14.843] nsd-checkzone[28499]: error: FILE:LINE: text
//	zone ZONE file FILE has 1 errors
func (s *Server) complaint(out, file string) error {
	e := &CheckError{Checker: s.Checkzone, Fault: "it does not say why"}
	found := 0
	for line := range strings.Lines(out) {
		_, text, ok := strings.Cut(strings.TrimSpace(line), "error: ")
		if !ok {
			continue
		}
		if found++; found > 1 {
			continue
		}
		e.Fault = text
		if place, ok := strings.CutPrefix(text, file+":"); ok {
			number, fault, _ := strings.Cut(place, ":")
			if n, err := strconv.Atoi(number); err == nil && n > 0 {
				e.Line, e.Fault, e.Text = n, strings.TrimSpace(fault), lineOf(file, n)
			}
		}
	}
	e.More = max(0, found-1)
	return e
}

// lineOf is a line of a file, shortened; "" if it cannot be read.
func lineOf(file string, number int) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if n == number {
			line = bytes.TrimSpace(line)
			if len(line) > maxQuoted {
				return string(line[:maxQuoted]) + "..."
			}
			return string(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return ""
		}
	}
}
