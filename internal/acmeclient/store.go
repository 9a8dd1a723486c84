package acmeclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"zonebuild/internal/durable"
)

// Store keeps what must outlive the process. What Save returned from is there
// after a crash, whole; what it did not return from is there or is not. Names are
// of [a-z0-9._-] and begin with a letter or a digit.
type Store interface {
	Load(name string) ([]byte, error) // fs.ErrNotExist
	Save(name string, data []byte) error
	Remove(name string) error // of what is not there: no error
}

// FileStore is a directory with a file of mode 0600 for each name. The directory
// must be there, and nobody else may write to it.
type FileStore struct{ Dir string }

// Bounds of what is stored.
const (
	maxStored = 1 << 20 // octets of a file
	maxName   = 100     // octets of a name
)

var _ Store = FileStore{}

// Load reads NAME.json; what is there beside regular files is refused.
func (s FileStore) Load(name string) ([]byte, error) {
	file, err := fileName(name)
	if err != nil {
		return nil, err
	}
	data, _, err := durable.ReadRegular(s.Dir, file, maxStored)
	return data, err
}

// Save replaces NAME.json.
func (s FileStore) Save(name string, data []byte) error {
	file, err := fileName(name)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(s.Dir, file), data, durable.Options{Mode: 0o600})
}

// Remove removes NAME.json.
func (s FileStore) Remove(name string) error {
	file, err := fileName(name)
	if err != nil {
		return err
	}
	return durable.Remove(filepath.Join(s.Dir, file))
}

func fileName(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	return name + ".json", nil
}

func checkName(name string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) || strings.ContainsAny(name[:1], "._-") {
		return fmt.Errorf("%q is no name of [a-z0-9._-] that begins with a letter or a digit", name)
	}
	return nil
}

// ErrDamaged is a record that is none.
var ErrDamaged = errors.New("the record is damaged")

// load reads a value; found is false when there is none.
func (c *Client) load(name string, v any) (found bool, err error) {
	data, err := c.store.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("load %s: %w", name, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("load %s: %w: %w", name, ErrDamaged, err)
	}
	return true, nil
}

func (c *Client) save(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = c.store.Save(name, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}
