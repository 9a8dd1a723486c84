// Command acmehook puts the dns-01 challenges of an ACME CA into a drop box, from
// where zonebuild publishes them. It is the hook of every common ACME client, and
// itself one: it keeps lines of certificates whose keys are pinned by TLSA records.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not heed the first
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, env func(string) string, out, err io.Writer) int {
	p := &program{out: out, err: err, env: env, clock: time.Now}
	return p.run(ctx, args)
}
