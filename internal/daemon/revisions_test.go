package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"zonebuild/internal/build"
	"zonebuild/internal/lab"
)

// revisions are a zone of 500 files, which change together.
type revisions struct {
	*testSite
	mu    sync.Mutex
	seen  map[string]int // how often a revision was published
	mixed []string
}

const pieces = 500

func newRevisions(t *testing.T) *revisions {
	s := newSite(t, false)
	r := &revisions{testSite: s, seen: map[string]int{}}
	var list strings.Builder
	for i := range pieces {
		fmt.Fprintf(&list, "%q,", fmt.Sprintf("primary/%03d", i))
	}
	s.write("zonebuild.toml", "[policy]\nsign = false\n[[zone]]\nnames = [\"example.org\"]\nprimary = ["+strings.TrimSuffix(list.String(), ",")+"]\n")
	s.remove("primary/example.org")
	return r
}

// revision writes all files to a directory.
func (r *revisions) revision(dir string, rev int) {
	r.t.Helper()
	if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
		r.t.Fatal(err)
	}
	for i := range pieces {
		text := fmt.Sprintf("h%d TXT rev%d\n", i, rev)
		if i == 0 {
			text += "ns1 A 192.0.2.53\n"
		}
		if err := os.WriteFile(filepath.Join(r.path(dir), fmt.Sprintf("%03d", i)), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// begin runs the daemon, and looks at all that it publishes.
func (r *revisions) begin() {
	r.saw = func(report *build.Report) {
		for i := range report.Zones {
			if report.Zones[i].Action == build.Published {
				r.look()
			}
		}
	}
	r.start()
	r.until("it is published", r.published("rev"))
}

func (r *revisions) look() {
	b, err := os.ReadFile(r.path("signed/example.org"))
	if err != nil {
		r.t.Error(err)
	}
	count := map[string]int{}
	for _, m := range regexp.MustCompile(`TXT\t"?(rev\d+)`).FindAllStringSubmatch(string(b), -1) {
		count[m[1]]++
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(count) != 1 {
		r.mixed = append(r.mixed, fmt.Sprint(count))
	}
	for rev, n := range count {
		if r.seen[rev]++; n != pieces {
			r.mixed = append(r.mixed, fmt.Sprint(count))
		}
	}
}

// builds is how many builds began so far.
func (r *revisions) builds() int { return strings.Count(r.said(), "msg=build ") }

// ends waits for the last revision, and wants all that were published to be whole.
func (r *revisions) ends(last int) {
	r.t.Helper()
	r.until("the last revision is published", func() bool {
		return strings.Count(readFile(r.t, r.path("signed/example.org")), fmt.Sprintf("rev%d", last)) == pieces
	})
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.Logf("published: %v", r.seen)
	for _, m := range r.mixed {
		r.t.Errorf("a zone of several revisions, or of a part of one, was published: %s", m)
	}
	if len(r.seen) < 3 {
		r.t.Errorf("only %d revisions were published: nothing was tried", len(r.seen))
	}
}

// TestCheckouts: `git checkout` of 500 files in a loop; what is published is always one
// revision.
func TestCheckouts(t *testing.T) {
	lab.Need(t, "git")
	r := newRevisions(t)
	git := func(args ...string) {
		lab.RunIn(t, r.dir, "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
	}
	git("init", "-q")
	const revs, rounds = 6, 20
	for rev := revs - 1; rev >= 0; rev-- {
		r.revision("primary", rev)
		git("add", "soa", "primary")
		git("commit", "-q", "-m", "r")
		git("tag", fmt.Sprintf("r%d", rev))
	}
	r.begin()
	for i := range rounds {
		n := r.builds()
		git("checkout", "-q", "-f", fmt.Sprintf("r%d", (i+1)%revs))
		r.until("a build begins", func() bool { return r.builds() > n }) // the next checkout meets it as it reads
		if i%5 == 4 {
			r.until("it is published", r.published(fmt.Sprintf(`"rev%d"`, (i+1)%revs)))
		}
	}
	r.ends(rounds % revs)
}

// TestFlips: a symbolic link that is switched from one directory to another.
func TestFlips(t *testing.T) {
	r := newRevisions(t)
	if err := os.RemoveAll(r.path("primary")); err != nil {
		t.Fatal(err)
	}
	const revs, rounds = 6, 20
	for rev := range revs {
		r.revision(fmt.Sprintf("releases/%d", rev), rev)
	}
	r.link("releases/0", "primary")
	r.begin()
	for i := range rounds {
		n := r.builds()
		r.link(fmt.Sprintf("releases/%d", (i+1)%revs), "primary")
		r.until("a build begins", func() bool { return r.builds() > n })
	}
	r.ends(rounds % revs)
}
