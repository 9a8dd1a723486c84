package main

import (
	"bytes"
	"strings"
	"testing"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
)

// Long work has a bar with its stage, its records, what is done and how long the
// rest takes; it is gone at the end. Short work has none, nor has any without a
// terminal.
func TestProgress(t *testing.T) {
	a, b := domain.MustParse("a.test"), domain.MustParse("b.test")
	steps := []build.Progress{
		{Zone: a, Stage: build.StageSign, Records: 20_000, Done: 64, Total: 30_000},
		{Zone: b, Stage: build.StageSign, Records: 10, Done: 10, Total: 10},
		{Zone: b, Stage: build.StageVerify, Records: 10, Done: 10, Total: 10},
		{Zone: a, Stage: build.StageSign, Records: 20_000, Done: 30_000, Total: 30_000},
		{Zone: a, Stage: build.StageVerify, Records: 20_000, Done: 15_000, Total: 30_000},
	}
	var out bytes.Buffer
	w := &longWork{to: &out}
	for _, s := range steps {
		w.build(s)
	}
	w.end()
	for _, want := range []string{"sign 20000 records", "(64/30000", "verify 20000 records", "(15000/30000", "signatures/s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if lines := strings.Split(out.String(), "\r"); strings.TrimSpace(lines[len(lines)-1]) != "" {
		t.Errorf("%q stays on the terminal", lines[len(lines)-1])
	}
	out.Reset()
	w = &longWork{to: &out}
	w.build(steps[1])
	w.verify(10, 100)
	w.end()
	if out.Len() > 0 {
		t.Errorf("short work says %q", out.String())
	}
	p := &program{err: &out}
	w = p.longWork(&session{})
	for _, s := range steps {
		w.build(s)
	}
	w.verify(15_000, 30_000)
	w.end()
	if out.Len() > 0 {
		t.Errorf("without a terminal it says %q", out.String())
	}
}
