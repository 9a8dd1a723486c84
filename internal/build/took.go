package build

import (
	"io"
	"time"
)

// Stages of a pass, of which Options.Took is told. Zones are worked on side by side:
// their sum may be more than the time of the pass.
const (
	StageParse   = "parse"   // to read the sources, and to parse those that are others
	StageCompile = "compile" // to make a zone of them
	StageSign    = "sign"    // to plan and to make signatures, and to render the zone
	StageWrite   = "write"   // to bring it to the disk, with all that waits for the disk
	StageVerify  = "verify"  // to read it back
	StageConfirm = "confirm" // until all zones of a batch were seen served
)

// clock reads the running clock; zero where nobody measures.
func (p *pass) clock() time.Duration {
	if p.o.Took == nil {
		return 0
	}
	return p.o.Clock()
}

// took tells how long a stage of a zone took, from a reading of the clock until now.
func (p *pass) took(stage string, begun time.Duration) { p.tookFor(stage, p.clock()-begun) }

func (p *pass) tookFor(stage string, d time.Duration) {
	if p.o.Took != nil {
		p.o.Took(stage, d)
	}
}

// slowWriter sums up what a writer takes: how much, and how long.
type slowWriter struct {
	io.Writer
	clock func() time.Duration
	took  time.Duration
	n     int64
}

// Write passes b on.
func (w *slowWriter) Write(b []byte) (int, error) {
	begun := w.clock()
	n, err := w.Writer.Write(b)
	w.took += w.clock() - begun
	w.n += int64(n)
	return n, err
}
