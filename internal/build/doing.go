package build

import (
	"fmt"
	"time"
)

// doing is what a pass is at, of the things that take no time unless a disk is gone.
type doing struct {
	what  string
	since time.Duration // by the clock
}

// does notes that a pass begins with something; the function it gives, that it is done.
func (b *Beside) does(format string, args ...any) (done func()) {
	if b == nil {
		return func() {}
	}
	d := &doing{fmt.Sprintf(format, args...), b.now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at == nil {
		b.at = map[*doing]bool{}
	}
	b.at[d] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.at, d)
	}
}

// quickSize is the size of a file, in octets, that is written and copied in no time.
const quickSize = 16 << 20

// takesNoTime is does for what is done with a whole zone, unless it is a large one.
func (p *pass) takesNoTime(j *job, format string, args ...any) (done func()) {
	if j.head.id.Size > quickSize {
		return func() {}
	}
	return p.o.Beside.does(format, args...)
}

// Hangs says what a pass does for so long at least, though it takes no time unless a disk
// is gone; "" = nothing. It fits behind "to".
func (b *Beside) Hangs(least time.Duration) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var oldest *doing
	for d := range b.at {
		if b.now()-d.since >= least && (oldest == nil || d.since < oldest.since) {
			oldest = d
		}
	}
	if oldest == nil {
		return ""
	}
	return oldest.what
}
