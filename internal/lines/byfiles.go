package lines

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"zonebuild/internal/config"
)

// byFiles compares the files with those that the service was last told of, and their
// time with that of its start. One that was told in vain is told again after 1, 10 and
// 100 minutes, then daily, or when its files change.
func (t *Trigger) byFiles(ctx context.Context, s config.Service, m material, p *Pulled) error {
	last, err := t.last(s)
	if err != nil {
		return err
	}
	told := Loaded{Files: m.digest}
	if last.Files == m.digest && last.Vain == 0 {
		p.Why = "its files are those that it was told of"
		return nil
	}
	p.Why = "its files have changed"
	if s.PidFile != "" {
		at, err := started(s.PidFile)
		if err != nil {
			return fmt.Errorf("when it was started: %w", err)
		}
		if at.After(m.newest) {
			p.Why = "it was started after its files changed"
			if err := t.note(s, told); !Unwritable(err) {
				return err
			}
			return nil // that can be seen again
		}
		p.Why = "its files changed after it was started"
	}
	if len(s.Reload) == 0 {
		return fmt.Errorf("%s, and it has no reload command", p.Why)
	}
	if last.Files == m.digest {
		told.Vain = last.Vain
	}
	if err := t.patient(last, told); err != nil {
		return fmt.Errorf("%s; %w", p.Why, err)
	}
	p.Did = "reload"
	told.Vain++
	if err := t.note(s, told); err != nil { // before it is told, or it would be told at each call
		p.Did = "nothing"
		return err
	}
	if err := t.Hook(ctx, t.command(s)); err != nil {
		return err
	}
	return t.note(s, Loaded{Files: m.digest})
}

// maxLinks bounds symbolic links that lead to others.
const maxLinks = 8

// linked is when the newest symbolic link on the way to a file was made, as far as such
// links lead to others: behind a link that was put elsewhere stands a file which may be old.
func linked(path string, depth int) (newest time.Time) {
	for p := filepath.Clean(path); depth > 0; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			at := changed(p)
			if target, err := os.Readlink(p); err == nil {
				if !filepath.IsAbs(target) {
					target = filepath.Join(filepath.Dir(p), target)
				}
				if deeper := linked(target, depth-1); deeper.After(at) {
					at = deeper
				}
			}
			if at.After(newest) {
				newest = at
			}
		}
		if p == filepath.Dir(p) {
			break
		}
	}
	return newest
}

// real is where a path leads to.
func real(path string) string {
	if there, err := filepath.EvalSymlinks(path); err == nil {
		return there
	}
	return path
}

// changed is when what stands at a path, which may be a link, was last changed in any
// way, also by what gives it an old time; zero: it is not known.
func changed(path string) time.Time {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return time.Time{}
	}
	return time.Unix(st.Ctim.Unix())
}
