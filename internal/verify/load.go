package verify

import (
	"errors"
	"io"

	"zonebuild/internal/domain"
)

// load reads the file in r: as lines, or as a whole if it is not in line form.
// Faults of the text go to f; an error is one of reading.
func load(r io.ReadSeeker, apex domain.Name, f *faults) (*zone, error) {
	z, err := loadLines(r, f)
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

func loadLines(r io.Reader, f *faults) (*zone, error) {
	z := new(zone)
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
