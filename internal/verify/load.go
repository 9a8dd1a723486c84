package verify

import (
	"errors"
	"io"

	"zonebuild/internal/domain"
)

// load reads the file in r: as lines, or as a whole if it is not in line form.
// Faults of the text go to f; an error is one of reading.
func load(r io.ReadSeeker, apex domain.Name, f *faults) (*zone, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	z, err := loadLines(r, size, f)
	if errors.Is(err, errForm) {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		*f = faults{file: f.file}
		z = new(zone)
		err = loadForeign(r, apex.String(), z, f)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	z.settle(f)
	return z, nil
}

// bytesPerRecord is what a record takes at least, in a zone of short names.
const bytesPerRecord = 90

// loadLines reads a file of about size bytes.
func loadLines(r io.Reader, size int64, f *faults) (*zone, error) {
	// Growing by appending would cost as much memory again.
	z := &zone{recs: make([]rec, 0, min(size, 1<<32)/bytesPerRecord+8)}
	lines := newLineReader(r)
	for {
		rec, err := lines.next()
		switch e := err.(type) {
		case nil:
			if err := z.add(rec); err != nil {
				return nil, err
			}
		case *lineError:
			f.errorf(lines.line, e.code, nil, "%v", e.err)
		default:
			if err == io.EOF {
				return z, nil
			}
			return nil, err
		}
	}
}
