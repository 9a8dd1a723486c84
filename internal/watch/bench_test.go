package watch

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLook is a look at a directory in which nothing changed: what a poll costs.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			for i := range n {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("zone%06d.example", i)), []byte("x"), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			e, err := Open([]Source{{Name: "soa", Paths: []string{dir}}}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			e.Look(b.Context(), "soa", false)
			one := e.eyes["soa"]
			for path, k := range one.known {
				k.read = k.read.Add(sameTick + 1) // as if some time had passed since
				one.known[path] = k
			}
			for b.Loop() {
				if s := e.Look(b.Context(), "soa", false); len(s.Changes) > 0 {
					b.Fatal(s.Changes)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/file")
		})
	}
}
