package publish

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
)

// pullState is what a pull remembers, in To/.pull: good/ZONE is the file that
// was last seen served (a copy, so that it outlives what happens to that one),
// seen/ZONE what was installed last, failed/ZONE the digest of the file that the
// server could not load, said/ZONE what was said of it in the last run.
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

func (s pullState) seenPath(apex domain.Name) string {
	return filepath.Join(s.dir, ".pull", "seen", apex.FileName())
}
func (s pullState) saidPath(apex domain.Name) string {
	return filepath.Join(s.dir, ".pull", "said", apex.FileName())
}

func (s pullState) makeDirs() error {
	for _, dir := range []string{s.goodDir(), s.failedDir(), filepath.Join(s.dir, ".pull", "seen"), filepath.Join(s.dir, ".pull", "said")} {
		if err := durable.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// known are the zones that were pulled before.
func (s pullState) known() ([]domain.Name, error) { return offered(s.goodDir()) }

// readGood is the last good file. Errors: there is none, or it is not whole.
func (s pullState) readGood(apex domain.Name) ([]byte, error) {
	b, _, err := durable.ReadFile(s.goodPath(apex), maxZoneFile)
	if err == nil {
		err = checkWhole(b)
	}
	return b, err
}

// seen is what was installed last, whatever became of its file since.
type seen struct {
	Serial uint32 `json:"serial"`
	Signed bool   `json:"signed"`
	Digest string `json:"digest"`
}

func (s pullState) readSeen(apex domain.Name) (was seen, ok bool) {
	b, _, err := durable.ReadFile(s.seenPath(apex), maxSeen)
	return was, err == nil && json.Unmarshal(b, &was) == nil
}

func (s pullState) writeSeen(apex domain.Name, is seen) error {
	b, err := json.Marshal(is)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.seenPath(apex), append(b, '\n'), durable.Options{})
}

const maxSeen = 4 << 10 // octets

// news reports whether a text is not what was said of the zone last, and keeps
// it. Cron sends mail.
func (s pullState) news(apex domain.Name, text string) bool {
	was, _, err := durable.ReadFile(s.saidPath(apex), maxSeen)
	if text == "" {
		if err == nil {
			_ = durable.Remove(s.saidPath(apex)) // else it is said once more
		}
		return false
	}
	sum := digest([]byte(text)) + "\n"
	if string(was) == sum {
		return false
	}
	_ = durable.WriteFile(s.saidPath(apex), []byte(sum), durable.Options{}) // likewise
	return true
}

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
