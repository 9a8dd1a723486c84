package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// TestInterrupted: the program that gets SIGTERM while it waits for name servers or for the
// CA ends long before its waits do, leaves nothing in the drop box, counts no failure, and
// the next run goes on with the same order.
func TestInterrupted(t *testing.T) {
	program := build(t)
	var over atomic.Bool // nothing stalls any more
	stalls := func(at string) func(y *yard, ca *lab.FakeCA, waits chan<- bool) {
		return func(y *yard, ca *lab.FakeCA, waits chan<- bool) {
			ca.Take = func(_ *lab.FakeCA, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != at || over.Load() {
					return false
				}
				select {
				case waits <- true:
				default:
				}
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
		}
	}
	for name, stall := range map[string]func(y *yard, ca *lab.FakeCA, waits chan<- bool){
		"name servers": func(y *yard, _ *lab.FakeCA, waits chan<- bool) {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.hidden, y.heard = true, waits
		},
		"order":       stalls("/newOrder"),
		"challenge":   stalls("/challenge/0"),
		"finalize":    stalls("/finalize"),
		"certificate": stalls("/cert"),
		"processing": func(_ *yard, ca *lab.FakeCA, waits chan<- bool) {
			ca.Change = func(_ *lab.FakeCA, path string, b map[string]any) {
				if b["status"] == "valid" && path == "/order" && !over.Load() {
					b["status"] = "processing"
					select {
					case waits <- true:
					default:
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			over.Store(false)
			y := newYard(t)
			ca := lab.NewFakeCA(t)
			y.write("acmehook.toml", strings.Replace(y.general(), "timeout = \"20s\"", "timeout = \"1h\"", 1)+account(ca)+fakeLine)
			waits := make(chan bool, 1)
			stall(y, ca, waits)
			y.does(cli.ExitOK, "init")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the waits themselves are of minutes and hours
			defer cancel()
			var out bytes.Buffer
			cmd := exec.CommandContext(ctx, program, "-C", y.dir, "run")
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-waits:
			case <-ctx.Done():
				t.Error("it did not wait")
			}
			cmd.Process.Signal(syscall.SIGTERM)
			err := cmd.Wait()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() != cli.ExitInterrupted || ctx.Err() != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			y.noChallenges()
			if s := y.status(); len(s.Due) != 1 || len(s.Waits) > 0 {
				t.Errorf("it is not due at once: %+v", s)
			}
			orders := ca.Asked("/newOrder")
			if name == "order" { // nothing was heard of it
				orders++
			}
			over.Store(true)
			y.mu.Lock()
			y.hidden = false
			y.mu.Unlock()
			y.does(cli.ExitOK, "run")
			if s := y.status(); s.Generation != 1 || s.Error != "" || ca.Asked("/newOrder") != orders {
				t.Errorf("%+v after %d orders, want %d", s, ca.Asked("/newOrder"), orders)
			}
			y.noChallenges()
			if _, err := os.Stat(y.path("state/acme/order-mail.json")); !os.IsNotExist(err) {
				t.Errorf("the order stays: %v", err)
			}
		})
	}
}
