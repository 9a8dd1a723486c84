package dnsextra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// Files beside the fragments, which no reader takes for one.
const (
	lockName = ".acmehook.lock"
	tryName  = ".acmehook.check"
)

// Writer puts challenges into a drop box.
type Writer struct {
	Dir     string
	Aliases []domain.Name // owners of another form
	Mode    os.FileMode   // of the files, whatever the umask; 0 is 0644
	Group   *int          // gid of the files; nil = what the system gives
}

// Add writes the file of a challenge. One that is there already stays as it is,
// but for a later expiration; others at the same owner are not touched. Errors: the
// challenge has not the form of one, or I/O.
func (w *Writer) Add(ctx context.Context, c Challenge) error {
	if err := w.check(c); err != nil {
		return err
	}
	lock, err := durable.LockWait(ctx, filepath.Join(w.Dir, lockName))
	if err != nil {
		return fmt.Errorf("add a challenge for %s: %w", c.Owner, err)
	}
	defer lock.Unlock()
	if data, _, err := durable.ReadRegular(w.Dir, c.FileName(), maxFile); err == nil {
		if old, bad := parse(c.FileName(), data, w.Aliases); bad == nil && !old[0].Expires.Before(c.Expires) {
			return nil
		}
	}
	if err := durable.WriteFile(filepath.Join(w.Dir, c.FileName()), c.text(), durable.Options{Mode: w.Mode, Group: w.Group}); err != nil {
		return fmt.Errorf("add a challenge for %s: %w", c.Owner, err)
	}
	return nil
}

// Try writes a file as Add does, and removes it. It gives the file's time, which is that
// of the clock of the file system. Others who write there are waited for.
func (w *Writer) Try(ctx context.Context) (at time.Time, err error) {
	lock, err := durable.LockWait(ctx, filepath.Join(w.Dir, lockName))
	if err != nil {
		return at, err
	}
	defer lock.Unlock()
	path := filepath.Join(w.Dir, tryName)
	if err := durable.WriteFile(path, []byte("; acmehook check\n"), durable.Options{Mode: w.Mode, Group: w.Group}); err != nil {
		return at, err
	}
	info, err := os.Stat(path)
	if err == nil {
		at = info.ModTime()
	}
	return at, errors.Join(err, durable.Remove(path))
}

// Remove deletes the file of exactly this challenge. That it is not there is no
// error.
func (w *Writer) Remove(c Challenge) error {
	if err := w.check(c); err != nil {
		return err
	}
	if err := durable.Remove(filepath.Join(w.Dir, c.FileName())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a challenge of %s: %w", c.Owner, err)
	}
	return nil
}

func (w *Writer) check(c Challenge) error {
	if _, err := ParseOwner(c.Owner.String(), w.Aliases); err != nil {
		return err
	}
	return CheckValue(c.Value)
}

// List gives the challenges in the box, sorted, and how many files are none.
func (w *Writer) List() (list []Challenge, others int, err error) {
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		if !isFileName(e.Name()) {
			continue
		}
		data, _, err := durable.ReadRegular(w.Dir, e.Name(), maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found, bad := []Challenge(nil), &fault{}
		if err == nil {
			found, bad = parse(e.Name(), data, w.Aliases)
		}
		if err != nil || bad != nil {
			others++
			continue
		}
		list = append(list, found...)
	}
	slices.SortFunc(list, Challenge.Compare)
	return list, others, nil
}

// Clean removes the challenges that have expired and gives them back.
func (w *Writer) Clean(now time.Time) (gone []Challenge, err error) {
	list, _, err := w.List()
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.Expires.IsZero() || now.Before(c.Expires) {
			continue
		}
		if err := w.Remove(c); err != nil {
			return gone, err
		}
		gone = append(gone, c)
	}
	return gone, nil
}
