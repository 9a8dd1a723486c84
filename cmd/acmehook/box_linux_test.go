package main

import (
	"os"
	"strings"
	"testing"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestPreflightBox (needs root, for a mount of its own): a drop box in which nothing can
// be written costs no order at the CA, and the line goes on when it can.
func TestPreflightBox(t *testing.T) {
	if !lab.InNamespace(t) {
		return
	}
	for name, row := range map[string]struct {
		breaks func(t *testing.T, y *yard)
		want   string
	}{
		"read-only": {func(t *testing.T, y *yard) { lab.BindReadOnly(t, y.path("dnsextra"), y.path("dnsextra")) }, "read-only file system"},
		"full": {func(t *testing.T, y *yard) {
			lab.Mount(t, "none", y.path("dnsextra"), "tmpfs", 0, "size=8k")
			if err := os.WriteFile(y.path("dnsextra/other"), []byte(strings.Repeat("x", 8<<10)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			ca := lab.NewFakeCA(t)
			y.configure(ca, fakeLine)
			y.does(cli.ExitOK, "init")
			row.breaks(t, y)
			out := y.does(cli.ExitFailed, "issue", "mail")
			if !strings.Contains(out, "before an order: drop box "+y.path("dnsextra")+": ") || !strings.Contains(out, row.want) {
				t.Errorf("%s", out)
			}
			if n := ca.Asked("/newOrder"); n != 0 {
				t.Errorf("%d orders", n)
			}
			lab.Unmount(t, y.path("dnsextra"))
			y.does(cli.ExitOK, "issue", "mail")
		})
	}
}
