package daemon

import (
	"context"
	"fmt"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/diag"
	"zonebuild/internal/watch"
)

// opening is the opening of the tree, of which soa/ or a file of the configuration may
// lie where nothing answers.
type opening struct {
	done   chan struct{}
	tree   *build.Tree
	faults diag.List
	err    error
}

// openWait is how long a reload waits for the tree: nothing is built meanwhile.
const openWait = 30 * time.Second

// openTree opens the tree. The start waits for it until the context ends, a reload not
// for long; while one hangs, no other is tried. Errors: those of build.Open, and
// watch.ErrMute.
func (d *Daemon) openTree(ctx context.Context) (*build.Tree, diag.List, error) {
	mute := fmt.Errorf("open %s: %w", d.Dir, watch.ErrMute)
	if o := d.opening; o != nil {
		select {
		case <-o.done: // what it saw is old
			if d.opening = nil; o.tree != nil {
				o.tree.Close()
			}
		default:
			return nil, nil, mute
		}
	}
	o := &opening{done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.tree, o.faults, o.err = d.open(ctx)
	}()
	var enough <-chan time.Time
	if d.serving {
		timer := time.NewTimer(openWait)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-o.done:
		return o.tree, o.faults, o.err
	case <-enough:
	case <-ctx.Done():
	}
	d.opening = o
	return nil, nil, mute
}
