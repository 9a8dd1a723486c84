package dnsextra

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"zonebuild/internal/domain"
)

const good = "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func value(n int) string { return fmt.Sprintf("%043d", n) }

func challenge(owner, value string) Challenge {
	return Challenge{Owner: domain.MustParse(owner), Value: value}
}

func TestOwner(t *testing.T) {
	alias := []domain.Name{domain.MustParse("x.acme.example.net")}
	for text, want := range map[string]string{
		"_acme-challenge.example.org":                             "",
		"_acme-challenge.Example.ORG.":                            "",
		"_ujmmovf2vn55tgye._acme-challenge.example.org":           "",
		"x.acme.example.net":                                      "",
		"_acme-challenge.xn--caf-dma.example":                     "",
		"www.example.org":                                         "its first label is not _acme-challenge",
		"_acme-challenge":                                         "its first label is not _acme-challenge",
		"_short._acme-challenge.example.org":                      "its first label is not _acme-challenge",
		"a._acme-challenge.example.org":                           "its first label is not _acme-challenge",
		"*._acme-challenge.example.org":                           "a byte other than",
		"_acme-challenge.../../etc":                               "a byte other than",
		"_acme-challenge..org":                                    "empty label",
		"_acme-challenge.a\nb":                                    "a byte other than",
		"_acme-challenge.a;b":                                     "a byte other than",
		"_acme-challenge.$INCLUDE":                                "a byte other than",
		"_acme-challenge.caf\u00e9.example":                       "a byte other than",
		"_acme-challenge." + strings.Repeat("a", 64):              "label longer",
		"_acme-challenge." + strings.Repeat("abcdefg.", 27) + "a": "at most 230 fit",
		"": "empty name",
	} {
		_, err := ParseOwner(text, alias)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, v := range []string{"", good[1:], good + "x", good[1:] + "=", good[1:] + "\"", good[1:] + "+", good[1:] + "\n"} {
		if CheckValue(v) == nil {
			t.Errorf("%q is accepted", v)
		}
	}
	if err := CheckValue("-" + good[1:]); err != nil {
		t.Error(err)
	}
	if got := challenge("_ujmmovf2vn55tgye._acme-challenge.example.org", good).Proves().String(); got != "example.org." {
		t.Error(got)
	}
}

// TestHostile: each file of the threat table is left out alone, with the reason;
// the good ones beside it are read.
func TestHostile(t *testing.T) {
	line := func(owner, v string) string { return owner + ". 60 IN TXT \"" + v + "\"\n" }
	const owner = "_acme-challenge.www.example.org"
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(line(owner, good)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file, text string
		make       func(path string) error
		want       string
	}{
		"a record of another type": {text: owner + ". 60 IN A 192.0.2.6 ; TXT\n", want: `type "A": only TXT`},
		"NS":                       {text: owner + ". 60 IN NS TXT.example.\n", want: `type "NS": only TXT`},
		"include":                  {text: "$INCLUDE /etc/passwd ; TXT\n", want: "not of the form"},
		"origin":                   {text: "$ORIGIN evil. ; TXT\n", want: "not of the form"},
		"ttl":                      {text: "$TTL 0\n" + line(owner, good), want: "not of the form"},
		"generate":                 {text: "$GENERATE 1-9 h$ TXT x\n", want: "$GENERATE"},
		"a parenthesis":            {text: owner + ". 60 IN TXT ( \"" + good + "\"\n", want: "not of the form"},
		"an open quote":            {text: owner + ". 60 IN TXT \"" + good + "\n", want: "quotes"},
		"no end":                   {text: strings.TrimSuffix(line(owner, good), "\n"), want: "not complete"},
		"nothing":                  {text: "", want: "not complete"},
		"only a comment":           {text: "; hello\n", want: "no record"},
		"white space first":        {text: " " + line(owner, good), want: "begins with white space"},
		"NUL":                      {text: line(owner, good[1:]+"\x00"), want: "byte 0x00"},
		"an escape":                {text: line(owner, good[1:]+"\x1b"), want: "byte 0x1b"},
		"TYPE16":                   {text: owner + ". 60 IN TYPE16 \"" + good + "\"\n", want: "only TXT"},
		"class CH":                 {text: owner + ". 60 CH TXT \"" + good + "\"\n", want: "only IN"},
		"no class":                 {text: owner + ". 60 TXT \"" + good + "\"\n", want: "not of the form"},
		"SPF":                      {file: "example.org", text: line("example.org", "v=spf1 +all"), want: "not of the form"},
		"DMARC":                    {file: "_dmarc.example.org", text: line("_dmarc.example.org", good), want: "its first label is not"},
		"another's value":          {file: owner, text: line(owner, "x"), want: "value of 1 characters"},
		"another owner":            {text: line("_acme-challenge.mail.example.org", good), want: "its name does not fit"},
		"two owners":               {file: owner, text: line(owner, good) + line("_acme-challenge.mail.example.org", good), want: "a second owner"},
		"a wildcard":               {file: owner, text: line("*."+owner, good), want: "a byte other than"},
		"another digest":           {file: owner + "+0123456789abcdef", text: line(owner, good), want: "its name does not fit"},
		"out of scope":             {file: "_acme-challenge.example.com", text: line("_acme-challenge.example.com", good), want: "may not prove example.com."},
		"a large file":             {text: line(owner, good) + strings.Repeat(";\n", 3000), want: "too large"},
		"a relative owner":         {text: owner + " 60 IN TXT \"" + good + "\"\n", want: "no final dot"},
		"a link":                   {make: func(path string) error { return os.Symlink(secret, path) }, want: "not a regular file"},
		"a FIFO":                   {make: func(path string) error { return syscall.Mkfifo(path, 0o644) }, want: "not a regular file"},
		"a directory":              {make: func(path string) error { return os.Mkdir(path, 0o755) }, want: "not a regular file"},
		"a socket":                 {make: listen, want: "not a regular file"},
		"two names":                {make: func(path string) error { return os.Link(secret, path) }, want: "the file has 2 names"},
		"a name":                   {file: "_acme-challenge.a b", text: line(owner, good), want: "the name is no owner"},
		"a name with an escape":    {file: "x\x1b[2J", text: line(owner, good), want: "the name is no owner"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file == "" {
				tt.file = owner + "+" + challenge(owner, good).FileName()[len(owner)+1:]
			}
			path := filepath.Join(dir, tt.file)
			if tt.make == nil {
				tt.make = func(path string) error { return os.WriteFile(path, []byte(tt.text), 0o644) }
			}
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			w := Writer{Dir: dir}
			if err := w.Add(t.Context(), challenge("_acme-challenge.good.example.org", good)); err != nil {
				t.Fatal(err)
			}
			s := Scan([]Box{{Dir: dir, Names: []domain.Name{domain.MustParse("example.org")}, TTL: 60, MaxValues: 64, MaxAge: DefaultMaxAge}}, nil, now())
			if len(s.Live) != 1 || s.Live[0].Owner.String() != "_acme-challenge.good.example.org." {
				t.Errorf("live: %+v", s.Live)
			}
			if len(s.Faults) != 1 || !strings.Contains(s.Faults[0].String(), tt.want) || strings.ContainsAny(s.Faults[0].String(), "\x00\x1b\n") {
				t.Errorf("%q, want %q", s.Faults, tt.want)
			}
		})
	}
}

// listen makes a socket that stands when its listener is gone.
func listen(path string) error {
	short, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return os.Rename(filepath.Join(short, "s"), path)
}

// TestFileOwner: with an owner configured, another user's file is left out.
func TestFileOwner(t *testing.T) {
	dir := t.TempDir()
	w := Writer{Dir: dir}
	if err := w.Add(t.Context(), challenge("_acme-challenge.example.org", good)); err != nil {
		t.Fatal(err)
	}
	for _, uid := range []uint32{uint32(os.Getuid()), uint32(os.Getuid()) + 1} {
		s := Scan([]Box{{Dir: dir, TTL: 60, MaxValues: 64, MaxAge: DefaultMaxAge, Owner: &uid}}, nil, now())
		if ours := uid == uint32(os.Getuid()); (len(s.Live) == 1) != ours || (len(s.Faults) == 0) != ours {
			t.Errorf("user %d: %+v %v", uid, s.Live, s.Faults)
		}
	}
}

// TestShellHook: what a few lines of sh write is read too, several values in a file.
func TestShellHook(t *testing.T) {
	dir := t.TempDir()
	name := "_acme-challenge.example.org"
	text := "; made by a hook\n" + name + ". 2147483647 in txt \"" + value(1) + "\"\r\n\n" + strings.ToUpper(name) + ".\t0\tIN\tTXT\t\"" + value(2) + "\"\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := Scan([]Box{{Dir: dir, TTL: 60, MaxValues: 64, MaxAge: DefaultMaxAge}}, nil, now())
	if len(s.Live) != 2 || len(s.Faults) > 0 {
		t.Fatalf("%+v %v", s.Live, s.Faults)
	}
	for _, f := range s.Fragments(s.Live) {
		if ttl, _ := f.Records.TTL(0); ttl != 60 || !f.Guest {
			t.Errorf("TTL %d", ttl)
		}
	}
}

// TestBounds: more values than the box may have wait, those that stood stay; a
// listing without end is not read; age counts from the first sight.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	w := Writer{Dir: dir}
	box := []Box{{Dir: dir, TTL: 60, MaxValues: 3, MaxAge: 24 * time.Hour}}
	add := func(n int) {
		t.Helper()
		if err := w.Add(t.Context(), challenge("_acme-challenge.example.org", value(n))); err != nil {
			t.Fatal(err)
		}
	}
	add(5)
	add(6)
	s := Scan(box, nil, now())
	for n := range 5 {
		add(n)
	}
	s = Scan(box, s.Seen, now().Add(time.Hour))
	live := map[string]bool{}
	for _, e := range s.Live {
		live[e.Value] = true
	}
	if len(live) != 3 || !live[value(5)] || !live[value(6)] || len(s.Faults) != 1 || s.Faults[0].Code != "box-full" {
		t.Errorf("%v %v", live, s.Faults)
	}
	old := Scan(box, s.Seen, now().Add(24*time.Hour))
	if len(old.Live) != 3 { // the one first seen an hour later, and two that waited
		t.Errorf("%+v", old.Live)
	}
	for _, e := range old.Live {
		if e.Value == value(5) || e.Value == value(6) {
			t.Errorf("%s is published after a day", e.Value)
		}
	}
	back := Scan(box, s.Seen, now().Add(-time.Hour))
	if len(back.Live) != 3 || back.Live[0].Since.After(now()) {
		t.Errorf("a clock set back: %+v", back.Live)
	}
	for i := range maxEntries + 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("junk%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	full := Scan(box, s.Seen, now().Add(2*time.Hour))
	if len(full.Live) != 3 || full.Faults[0].Code != "box-full" {
		t.Errorf("%+v %v", full.Live, full.Faults)
	}
}

// TestMarker: a box that is not mounted keeps what was accepted.
func TestMarker(t *testing.T) {
	dir := t.TempDir()
	w := Writer{Dir: dir}
	if err := w.Add(t.Context(), challenge("_acme-challenge.example.org", good)); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(dir, "mounted")
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	box := []Box{{Dir: dir, TTL: 60, MaxValues: 3, MaxAge: 24 * time.Hour, Marker: "mounted"}}
	s := Scan(box, nil, now())
	if len(s.Live) != 1 || len(s.Faults) > 0 {
		t.Fatalf("%+v %v", s.Live, s.Faults)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s = Scan(box, s.Seen, now().Add(time.Hour))
	if len(s.Live) != 1 || len(s.Faults) != 1 || s.Faults[0].Code != "box-not-mounted" {
		t.Errorf("%+v %v", s.Live, s.Faults)
	}
	if s = Scan(box, s.Seen, now().Add(25*time.Hour)); len(s.Live) != 0 {
		t.Errorf("%+v", s.Live)
	}
}

// TestWriter: adding is idempotent, removing takes exactly one value and may find
// nothing; modes do not depend on the umask; expired ones are cleaned.
func TestWriter(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(old) })
	w := Writer{Dir: dir}
	a, b := challenge("_acme-challenge.example.org", value(1)), challenge("_acme-challenge.example.org", value(2))
	a.Expires = now().Add(time.Hour)
	var wg sync.WaitGroup
	for _, c := range []Challenge{a, a, b, a, b} {
		wg.Go(func() {
			if err := w.Add(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, others, err := w.List()
	if err != nil || others != 0 || len(list) != 2 || list[0] != a || list[1] != b {
		t.Fatalf("%+v %d %v", list, others, err)
	}
	info, err := os.Stat(filepath.Join(dir, a.FileName()))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, a.FileName()))
	if want := "_acme-challenge.example.org. 60 IN TXT \"" + value(1) + "\" ; expires=2026-03-01T13:00:00Z\n"; err != nil || string(text) != want {
		t.Errorf("%q %v", text, err)
	}
	if gone, err := w.Clean(now().Add(time.Hour)); err != nil || len(gone) != 1 || gone[0] != a {
		t.Errorf("%+v %v", gone, err)
	}
	for range 2 {
		if err := w.Remove(a); err != nil {
			t.Error(err)
		}
	}
	if list, _, err = w.List(); err != nil || len(list) != 1 || list[0] != b {
		t.Errorf("%+v %v", list, err)
	}
	if err := w.Add(t.Context(), challenge("www.example.org", good)); err == nil {
		t.Error("www is accepted")
	}
}

// FuzzParse: whatever a file holds, what is accepted is a challenge, and is written
// as a file that is accepted.
func FuzzParse(f *testing.F) {
	f.Add("_acme-challenge.example.org", []byte("_acme-challenge.example.org. 60 IN TXT \""+good+"\" ; expires=2026-03-01T13:00:00Z\n"))
	f.Add("_acme-challenge.example.org+0123456789abcdef", []byte("; x\n_acme-challenge.example.org.\t0 in txt \""+good+"\"\r\n\n"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !isFileName(name) {
			return
		}
		list, bad := parse(name, data, nil)
		if bad != nil {
			return
		}
		for _, c := range list {
			if CheckValue(c.Value) != nil || !strings.Contains(c.Owner.String(), label+".") {
				t.Fatalf("accepted %+v", c)
			}
			if c.Expires.Year() < 1 || c.Expires.Year() > 9999 {
				return
			}
			again, bad := parse(c.FileName(), c.text(), nil)
			if bad != nil || len(again) != 1 || again[0].Owner != c.Owner || again[0].Value != c.Value || !again[0].Expires.Equal(c.Expires) {
				t.Fatalf("%s is read back as %+v %v", c.text(), again, bad)
			}
		}
	})
}

// TestParallel: 50 adds and removes side by side, of the same and of other values,
// while the box is read: no value is lost, no half of one is seen.
func TestParallel(t *testing.T) {
	dir := t.TempDir()
	w := Writer{Dir: dir}
	box := []Box{{Dir: dir, TTL: 60, MaxValues: 200, MaxAge: DefaultMaxAge}}
	owner := func(n int) string { return fmt.Sprintf("_acme-challenge.n%d.example.org", n%5) }
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			c := challenge(owner(n), value(n))
			for range 2 {
				if err := w.Add(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
			if n%2 == 1 {
				if err := w.Remove(c); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			if s := Scan(box, nil, now()); len(s.Faults) > 0 {
				t.Errorf("half of a file was seen: %v", s.Faults)
			}
		})
	}
	wg.Wait()
	if s := Scan(box, nil, now()); len(s.Live) != 25 || len(s.Faults) > 0 {
		t.Errorf("%d challenges, %v", len(s.Live), s.Faults)
	}
}

// TestFlood: 200,000 files cost no more than the first 4,097 names, and what was
// accepted before stays.
// TestTry: many try the box at the same time, as acmehook does before each order; all
// find it right, and nothing stays.
func TestTry(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w := Writer{Dir: dir}
			for range 50 {
				if at, err := w.Try(t.Context()); err != nil || at.IsZero() {
					t.Errorf("%s %v", at, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != lockName {
		t.Errorf("%v %v", left, err)
	}
}

func TestFlood(t *testing.T) {
	dir := t.TempDir()
	w := Writer{Dir: dir}
	if err := w.Add(t.Context(), challenge("_acme-challenge.example.org", good)); err != nil {
		t.Fatal(err)
	}
	box := []Box{{Dir: dir, TTL: 60, MaxValues: 64, MaxAge: DefaultMaxAge}}
	s := Scan(box, nil, now())
	empty := filepath.Join(dir, ".empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 200_000 { // names of one file each, which are quicker to make than files
		target := empty
		if i%50_000 == 0 && i > 0 { // a file system has a bound on them
			empty = filepath.Join(dir, fmt.Sprintf(".empty%d", i))
			if err := os.WriteFile(empty, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			target = empty
		}
		if err := os.Link(target, filepath.Join(dir, fmt.Sprintf("_acme-challenge.f%d.example.org", i))); err != nil {
			t.Fatal(err)
		}
	}
	read := testing.AllocsPerRun(1, func() { s = Scan(box, s.Seen, now().Add(time.Hour)) })
	if len(s.Live) != 1 || len(s.Faults) != 1 || s.Faults[0].Code != "box-full" {
		t.Errorf("%+v %v", s.Live, s.Faults)
	}
	if read > 50*maxEntries {
		t.Errorf("%.0f allocations: as if all were read", read)
	}
}

// TestSwapped: a file that is swapped while it is read is one or the other, and
// what is not a challenge is not accepted.
func TestSwapped(t *testing.T) {
	dir := t.TempDir()
	name := challenge("_acme-challenge.example.org", good).FileName()
	path := filepath.Join(dir, name)
	box := []Box{{Dir: dir, TTL: 60, MaxValues: 64, MaxAge: DefaultMaxAge}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		texts := []string{"_acme-challenge.example.org. 60 IN TXT \"" + good + "\"\n", "www.example.org. 60 IN A 6.6.6.6\n"}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			switch i % 3 {
			case 2:
				os.Remove(path)
				os.Symlink("/etc/passwd", path)
			default:
				os.Remove(path)
				os.WriteFile(path, []byte(texts[i%3]), 0o644)
			}
		}
	})
	for range 2000 {
		for _, e := range Scan(box, nil, now()).Live {
			if e.Value != good || e.Owner.String() != "_acme-challenge.example.org." {
				t.Errorf("accepted %+v", e)
			}
		}
	}
	close(stop)
	wg.Wait()
}
