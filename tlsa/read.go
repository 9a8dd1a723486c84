package tlsa

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"zonebuild/internal/durable"
)

// maxCertFile is the most that a file of certs/ may hold, in octets.
const maxCertFile = 256 << 10

// readTries bounds the readings of a file that somebody is replacing.
const readTries = 8

// Faults of the reading of certs/.
var (
	ErrOutside  = errors.New("leads out of the directory of certificates")
	ErrUnstable = errors.New("changed each time it was read")
)

// Store is a directory of certificates, certs/. It belongs to somebody else:
// links are followed inside it only, nothing but regular files is read, and
// nothing is waited for.
type Store struct {
	root *os.Root
	stir func() // tests: what the other side does between two readings
}

// OpenStore opens certs/. Errors: it is not there, or no directory.
func OpenStore(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the directory of certificates: %w", err)
	}
	return &Store{root: root}, nil
}

// Close ends the use of the store.
func (s *Store) Close() error { return s.root.Close() }

// Read gives the material in a file. An ACME client switches links and replaces
// files while they are read: a file counts when two readings in a row found the
// same bytes in the same file. Errors: fs.ErrNotExist, durable.ErrNotRegular,
// durable.ErrTooLarge, ErrOutside, ErrUnstable, and those of ParseMaterial.
func (s *Store) Read(name string) (*Material, error) {
	data, err := s.stable(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	m, err := ParseMaterial(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return m, nil
}

// Keys reads the files of a group's lines, in their order.
func (s *Store) Keys(g Group) []Keys {
	out := make([]Keys, len(g.Lines))
	for i, l := range g.Lines {
		out[i].Live.Material, out[i].Live.Err = s.Read(l.CertFile)
		if l.Next != "" {
			out[i].Next.Material, out[i].Next.Err = s.Read(l.Next)
		}
	}
	return out
}

func (s *Store) stable(name string) ([]byte, error) {
	last, lastInfo, lastErr := s.once(name)
	for range readTries {
		if s.stir != nil {
			s.stir()
		}
		data, info, err := s.once(name)
		switch {
		case err != nil && lastErr != nil:
			return nil, err // not there, twice
		case err == nil && lastErr == nil && os.SameFile(info, lastInfo) && info.ModTime().Equal(lastInfo.ModTime()) && bytes.Equal(data, last):
			return data, nil
		}
		last, lastInfo, lastErr = data, info, err
	}
	return nil, ErrUnstable
}

func (s *Store) once(name string) ([]byte, os.FileInfo, error) {
	if !isClean(name) {
		return nil, nil, ErrOutside
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, openError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, openError(err)
	case !info.Mode().IsRegular():
		return nil, nil, durable.ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCertFile+1))
	switch {
	case err != nil:
		return nil, nil, openError(err)
	case len(data) > maxCertFile:
		return nil, nil, fmt.Errorf("%w: more than %d octets", durable.ErrTooLarge, maxCertFile)
	}
	return data, info, nil
}

// openError is the cause without the path, which the caller names. os.Root
// has no exported error for a path that leads out of it.
func openError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EOPNOTSUPP): // a socket
		return durable.ErrNotRegular
	case err.Error() == "path escapes from parent":
		return ErrOutside
	}
	return err
}
