package publish

import (
	"os"
	"path/filepath"
	"strings"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// pullState is what a pull remembers, in To/.pull: good/ZONE is the file that
// was last seen served (a copy, so that it outlives what happens to that one),
// failed/ZONE the digest of the one that the server could not load.
type pullState struct{ dir string }

func (s pullState) lockPath() string                 { return filepath.Join(s.dir, ".pull", "lock") }
func (s pullState) filePath(apex domain.Name) string { return filepath.Join(s.dir, apex.FileName()) }
func (s pullState) goodDir() string                  { return filepath.Join(s.dir, ".pull", "good") }
func (s pullState) goodPath(apex domain.Name) string {
	return filepath.Join(s.goodDir(), apex.FileName())
}
func (s pullState) failedDir() string { return filepath.Join(s.dir, ".pull", "failed") }
func (s pullState) failedPath(apex domain.Name) string {
	return filepath.Join(s.failedDir(), apex.FileName())
}

func (s pullState) makeDirs() error {
	for _, dir := range []string{s.goodDir(), s.failedDir()} {
		if err := durable.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// known are the zones that were pulled before.
func (s pullState) known() ([]domain.Name, error) { return offered(s.goodDir()) }

func (s pullState) readGood(apex domain.Name) ([]byte, error) { return os.ReadFile(s.goodPath(apex)) }

// failed is the digest of the file that could not be loaded; "" = none.
func (s pullState) failed(apex domain.Name) string {
	b, err := os.ReadFile(s.failedPath(apex))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (s pullState) remember(apex domain.Name, digest string) error {
	return durable.WriteFile(s.failedPath(apex), []byte(digest+"\n"), durable.Options{})
}
