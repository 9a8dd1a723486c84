// What verify-dane must be able to look at, for other clients can: certificates
// with negative serial numbers, and handshakes signed with SHA-1.
//
//go:debug x509negativeserial=1
//go:debug tlssha1=1

// Command zonebuild compiles, signs and publishes the zones of a data tree.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// gcPercent: the garbage collector has little to look at here, large zones being
// few and large slices, so that room is dearer than its work.
const gcPercent = 25

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not heed the first
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, out, err io.Writer) int {
	p := &program{out: out, err: err}
	return p.run(ctx, args)
}
