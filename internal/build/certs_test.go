package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"zonebuild/internal/durable"
)

// TestReadTwice: a map counts when it was the same twice.
func TestReadTwice(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "certs.map")
	const whole, cut, gone = "a.pem a.example 25\nb.pem b.example 25\n", "a.pem a.example 25\n", ""
	for name, c := range map[string]struct {
		states []string // of the file at each reading; the last one stays
		want   string
		err    error
	}{
		"at rest":       {[]string{whole}, whole, nil},
		"being written": {[]string{cut, whole}, whole, nil},
		"being moved":   {[]string{gone, whole}, whole, nil},
		"absent":        {[]string{gone}, "", fs.ErrNotExist},
		"removed":       {[]string{whole, gone}, "", fs.ErrNotExist},
		"restless":      {[]string{cut, whole, cut, whole, cut, whole, cut, whole, cut, whole}, "", errRestless},
	} {
		n := 0
		got, err := readTwice(func() ([]byte, os.FileInfo, error) {
			text := c.states[min(n, len(c.states)-1)]
			n++
			if text == gone {
				os.Remove(file)
			} else if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if n > len(c.states) { // at rest, its time is too
				if info, err := os.Stat(file); err == nil {
					os.Chtimes(file, info.ModTime(), info.ModTime().Truncate(1<<40))
				}
			}
			return durable.ReadFile(file, 1<<20)
		})
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}
