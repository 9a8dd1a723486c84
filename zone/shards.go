package zone

import (
	"bytes"
	"crypto/sha256"
	"runtime"
	"sync"

	"zonebuild/internal/diag"
)

// shardMin is how many octets a shard has at least: to join shards costs more than
// it gains below.
const shardMin = 128 << 10

// shardsPerCore levels out that not all shards are equally dear.
const shardsPerCore = 2

// Digest is the SHA-256 of the text of a file. It is made piece by piece: while one is,
// the other cores must stand still for the garbage collector.
func Digest(src []byte) [sha256.Size]byte {
	const piece = 256 << 10
	h := sha256.New()
	for len(src) > 0 {
		n := min(len(src), piece)
		h.Write(src[:n])
		src = src[n:]
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// digest gives the SHA-256 of a file. That of a large one is made meanwhile.
func (p *parser) digest(src []byte) func() [sha256.Size]byte {
	if len(src) < 2*p.shardMin || runtime.GOMAXPROCS(0) < 2 {
		sum := Digest(src)
		return func() [sha256.Size]byte { return sum }
	}
	done := make(chan [sha256.Size]byte, 1)
	go func() { done <- Digest(src) }()
	return func() [sha256.Size]byte { return <-done }
}

// directives gives the offset before which all lines of a file begin that begin
// with a dollar sign, and whether so much stands behind it that it is worth being
// read in shards.
func (r *reader) directives() (end int, ok bool) {
	if len(r.src) < 2*r.shardMin || runtime.GOMAXPROCS(0) < 2 {
		return 0, false
	}
	for at := 0; ; at++ {
		n := bytes.IndexByte(r.src[at:], '$')
		if n < 0 {
			break
		}
		if at += n; at == 0 || r.src[at-1] == '\n' {
			end = at + 1
		}
	}
	return end, len(r.src)-end >= 2*r.shardMin
}

// readShards reads the rest of a file in shards, on all cores, and reports
// whether it did. A shard begins at a line that begins with an owner. That this is
// no line inside parentheses is known only when the shard before it was read to its
// end: each entry there ends at the cut or before it. Where one does not, or one is a
// directive after all, nothing has happened: the file is read in one piece.
func (r *reader) readShards() bool {
	cuts := r.cuts(min((len(r.src)-r.scanner.at)/r.shardMin, shardsPerCore*runtime.GOMAXPROCS(0)))
	shards := make([]*reader, len(cuts)-1)
	lines := make([]int, len(shards))
	for k := range lines {
		lines[k] = bytes.Count(r.src[cuts[k]:cuts[k+1]], []byte{'\n'})
	}
	parts := r.records.Parts(roomFor(lines, cuts))
	line := r.line
	for k := range shards {
		p := &parser{o: r.o, apex: r.apex, ttl: r.ttl, records: parts[k]}
		shards[k] = &reader{
			parser: p, number: r.number, origin: r.origin, depth: r.depth, shard: true,
			scanner: scanner{name: r.scanner.name, src: r.src, at: cuts[k], lineStart: cuts[k], line: line, faults: &p.faults},
		}
		line += lines[k]
	}
	shards[0].owner, shards[0].lost = bytes.Clone(r.owner), r.lost
	next := make(chan int, len(shards))
	for k := range shards {
		next <- k
	}
	close(next)
	var wg sync.WaitGroup
	for range min(len(shards), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for k := range next {
				shards[k].readBefore(cuts[k+1])
			}
		})
	}
	wg.Wait()
	var faults diag.List
	for k, s := range shards {
		if s.spoiled || s.scanner.at != cuts[k+1] || s.scanner.reread > 0 { // of which a file has so many only
			return false
		}
		parts[k] = s.records
		faults = append(faults, s.parser.faults...)
	}
	if r.records.Join(parts) != nil {
		return false
	}
	r.parser.faults = append(r.parser.faults, faults...)
	return true
}

// roomFor is how many records shards of so many lines between the cuts are likely to
// have at most. A line has one, but many may be empty.
func roomFor(lines, cuts []int) []int {
	const least = 12 // octets of a line with a short record
	room := make([]int, len(lines))
	for k, n := range lines {
		room[k] = min(n+1, (cuts[k+1]-cuts[k])/least)
	}
	return room
}

// cuts gives the offsets of at most n shards of the rest of the file, and that of
// its end.
func (r *reader) cuts(n int) []int {
	out := []int{r.scanner.at}
	rest := len(r.src) - r.scanner.at
	for k := 1; k < n; k++ {
		at, end := max(r.scanner.at+rest/n*k, out[len(out)-1]), r.scanner.at+rest/n*(k+1)
		for at < end {
			line := bytes.IndexByte(r.src[at:end], '\n')
			if line < 0 {
				break
			}
			if at += line + 1; at < end && class(r.src[at]) == plain && r.src[at] != '$' {
				out = append(out, at)
				break
			}
		}
	}
	return append(out, len(r.src))
}
