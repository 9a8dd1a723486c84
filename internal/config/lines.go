package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// Account is [account]: which CA is asked, and as whom.
type Account struct {
	Directory  string
	Staging    string   // the directory for trials; "" = none is known
	Trial      bool     // Directory is one for trials itself
	Contact    []string // URLs, such as mailto:
	AgreeTerms bool
	Key        string        // PEM file, ready to use
	CAFile     string        // "" = the system's
	Hosts      []string      // HOST[:PORT] beside that of Directory
	EABKeyID   string        // "" = none
	EABKeyFile string        // base64url, ready to use
	Lifetime   time.Duration // of a certificate that is believed
}

// Line is [line.NAME]: a certificate that is kept up.
type Line struct {
	Name      string
	Names     []string // in lower case, A-labels, without final dot; *.NAME too
	KeyType   string
	ReuseKey  bool
	MaxKeyAge time.Duration // 0 = no bound
	NextKey   bool
	Profile   string
	Issuer    string
	CSR       string // ready to use; "" = keys are made here
	NextCSR   string
	RenewAt   int // percent of the lifetime; 0 = as the CA suggests, or by the lifetime
	Services  []string
	NoDANE    bool // nobody has TLSA records of its keys: they change when they may, not when DNS allows it
	Deploy    [][]string
	Timeout   time.Duration // of a deploy hook
	Combined  bool
	DHParams  string      // ready to use; "" = none
	Keep      int         // old generations
	Dir       string      // where live, next and archive are, ready to use; "" = LINES/NAME
	KeysDir   string      // of its private keys, ready to use; "" = KEYS/NAME
	KeyGroup  *int        // may read the private keys; nil: nobody but their owner
	Mode      os.FileMode // of its public files
}

const (
	letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	forTrials   = "https://acme-staging-v02.api.letsencrypt.org/directory" // of the same
)

// Bounds of acmehook.toml.
const (
	maxNames = 100 // of a certificate: what Let's Encrypt allows
	anyName  = `^[a-z0-9][a-z0-9._-]{0,62}$`
)

// loadAccount reads [account].
func (l *loader) loadAccount(h *Hook, e *entry) {
	a := &Account{Directory: letsEncrypt, Key: "keys/account.key", Lifetime: 400 * day}
	l.read(e.val.table, "account", accountKeys(a))
	if (a.EABKeyID == "") != (a.EABKeyFile == "") {
		l.errorf(e.at, "config-value", "account: eab-key-id and eab-key-file are given together or not at all")
	}
	if a.Staging == "" && a.Directory == letsEncrypt {
		a.Staging = forTrials
	}
	a.Trial = a.Directory == forTrials || a.Directory == a.Staging
	l.place(&a.Key, &a.CAFile, &a.EABKeyFile)
	h.Account = a
}

// place makes paths ready to use.
func (l *loader) place(paths ...*string) {
	for _, p := range paths {
		if *p != "" {
			*p = l.inTree(*p)
		}
	}
}

// placePrograms makes the paths of programs ready to use; a name without a slash is
// looked for.
func (l *loader) placePrograms(commands ...[]string) {
	for _, argv := range commands {
		if len(argv) > 0 && strings.Contains(argv[0], "/") {
			l.place(&argv[0])
		}
	}
}

func accountKeys(a *Account) []key {
	return []key{
		{"directory", directoryURL(&a.Directory)},
		{"staging", directoryURL(&a.Staging)},
		{"contact", list(&a.Contact, func(s string) error {
			if !strings.HasPrefix(s, "mailto:") || !strings.Contains(s, "@") || strings.ContainsFunc(s, notPlain) {
				return fmt.Errorf("%q is no URL such as mailto:hostmaster@example.org", s)
			}
			return nil
		})},
		{"agree-terms", boolean(&a.AgreeTerms)},
		{"key", localPath(&a.Key)},
		{"ca-file", localPath(&a.CAFile)},
		{"hosts", list(&a.Hosts, func(s string) error {
			if s == "" || strings.ContainsFunc(s, notPlain) || strings.ContainsAny(s, "/@") {
				return fmt.Errorf("%q is no HOST or HOST:PORT", s)
			}
			return nil
		})},
		{"eab-key-id", text(&a.EABKeyID)},
		{"eab-key-file", localPath(&a.EABKeyFile)},
		{"max-lifetime", duration(&a.Lifetime, day, 3660*day)},
	}
}

func directoryURL(to *string) func(value) error {
	return func(v value) error {
		s, err := v.str()
		if err != nil {
			return err
		}
		if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("%q is no https URL", s)
		}
		*to = s
		return nil
	}
}

func notPlain(r rune) bool { return r <= ' ' || r > '~' }

// loadEach reads the tables [kind.NAME].
func (l *loader) loadEach(e *entry, load func(name string, e *entry)) {
	for _, sub := range e.val.table.entries {
		switch {
		case !regexp.MustCompile(anyName).MatchString(sub.key):
			l.errorf(sub.at, "config-value", "%s %q: a name is of a-z, 0-9, dot, dash and underscore, and begins with a letter or a digit", e.key, sub.key)
		case sub.val.table == nil:
			l.errorf(sub.at, "config-value", "%s: must be a table: [%s.%s]", sub.key, e.key, sub.key)
		default:
			load(sub.key, sub)
		}
	}
}

// loadLine reads one [line.NAME].
func (l *loader) loadLine(h *Hook, name string, e *entry) {
	n := Line{Name: name, KeyType: "ecdsa-p256", ReuseKey: true, NextKey: true, Timeout: time.Minute, Keep: 5, Mode: 0o644}
	l.read(e.val.table, "line."+name, lineKeys(&n))
	switch {
	case len(n.Names) == 0 && e.val.table.find("names") == nil:
		l.errorf(e.at, "config-value", "line %s: names are missing", name)
	case n.NextCSR != "" && n.CSR == "":
		l.errorf(e.val.table.find("next-csr").at, "config-value", "next-csr: csr is missing")
	case n.CSR != "" && n.Combined:
		l.errorf(e.val.table.find("combined").at, "config-value", "combined: with csr the private key is not here")
	case n.DHParams != "" && !n.Combined:
		l.errorf(e.val.table.find("dh-params").at, "config-value", "dh-params: they stand in combined.pem only: combined = true")
	}
	l.place(&n.CSR, &n.NextCSR, &n.DHParams, &n.Dir, &n.KeysDir)
	l.placePrograms(n.Deploy...)
	h.Lines = append(h.Lines, n)
}

func lineKeys(n *Line) []key {
	return []key{
		{"names", certNames(&n.Names)},
		{"key-type", oneOf(&n.KeyType, "ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519")},
		{"reuse-key", boolean(&n.ReuseKey)},
		{"max-key-age", duration(&n.MaxKeyAge, day, 3660*day)},
		{"next-key", boolean(&n.NextKey)},
		{"profile", text(&n.Profile)},
		{"issuer", text(&n.Issuer)},
		{"csr", localPath(&n.CSR)},
		{"next-csr", localPath(&n.NextCSR)},
		{"renew-at", number(&n.RenewAt, 10, 95)},
		{"services", list(&n.Services, func(string) error { return nil })},
		{"dane", func(v value) error {
			on := true
			err := boolean(&on)(v)
			n.NoDANE = !on
			return err
		}},
		{"deploy", commands(&n.Deploy)},
		{"deploy-timeout", duration(&n.Timeout, time.Second, time.Hour)},
		{"combined", boolean(&n.Combined)},
		{"dh-params", localPath(&n.DHParams)},
		{"keep", number(&n.Keep, 1, 1000)},
		{"directory", localPath(&n.Dir)},
		{"keys", localPath(&n.KeysDir)},
		{"mode", fileMode(&n.Mode)},
		{"key-group", func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			gid, err := ParseGroup(s)
			if err == nil {
				n.KeyGroup = &gid
			}
			return err
		}},
		{"must-staple", func(v value) error {
			var on bool
			if err := boolean(&on)(v); err != nil || !on {
				return err
			}
			return errors.New("is refused: CAs answer no OCSP any more, and clients would turn away from a certificate that demands it")
		}},
	}
}

// certNames reads the names of a certificate: none twice, a wildcard as *.NAME.
func certNames(to *[]string) func(value) error {
	return func(v value) error {
		var out []string
		err := v.each(func(s string) error {
			base := strings.TrimPrefix(s, "*.")
			n, err := domain.Parse(base)
			if err != nil {
				return err
			}
			if n.Labels() < 2 || strings.Contains(base, "*") {
				return fmt.Errorf("%q is no name that a certificate is for", s)
			}
			name := strings.TrimSuffix(strings.ToLower(n.String()), ".")
			if !isHost(name) {
				return fmt.Errorf("%q is no name that a CA can be asked for: letters, digits and dashes, and no address", s)
			}
			if strings.HasPrefix(s, "*.") {
				name = "*." + name
			}
			if slices.Contains(out, name) {
				return fmt.Errorf("%s stands twice", name)
			}
			out = append(out, name)
			return nil
		})
		switch {
		case err != nil:
			return err
		case len(out) == 0 || len(out) > maxNames:
			return fmt.Errorf("must be from 1 to %d names", maxNames)
		}
		*to = out
		return nil
	}
}

// isHost reports whether a name is one of hosts (RFC 1123 §2.1), as certificates hold
// them: labels of letters, digits and inner dashes, and the last one no number.
func isHost(name string) bool {
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(label) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// commands reads a list of commands, each a list of arguments.
func commands(to *[][]string) func(value) error {
	return func(v value) error {
		if v.kind != unstable.Array {
			return errors.New(`must be a list of commands: [["program", "argument", ...], ...]`)
		}
		var out [][]string
		for _, e := range v.list {
			var one []string
			if err := argv(&one)(e); err != nil {
				return errors.New(`must be a list of commands: [["program", "argument", ...], ...]`)
			}
			out = append(out, one)
		}
		*to = out
		return nil
	}
}

// checkLines wants every service that a line names to be there, its names to be such as
// may be proved, and the places of a line to be its own: below those of all lines, or
// where it says.
func (l *loader) checkLines(h *Hook, root *table) {
	owner := map[string]string{}
	for _, n := range h.Lines {
		at := root.find("line").val.table.find(n.Name).at
		for _, p := range [][2]string{{n.Dir, h.LinesDir}, {n.KeysDir, h.KeysDir}} {
			dir := filepath.Clean(p[0])
			if p[0] == "" {
				dir = filepath.Join(l.inTree(p[1]), n.Name)
			}
			if other, taken := owner[dir]; taken {
				l.errorf(at, "config-value", "line %s: %s is taken by the line %s", n.Name, dir, other)
			}
			owner[dir] = n.Name
		}
		if a := h.Account; a != nil && filepath.Clean(a.Key) == filepath.Join(l.inTree(h.KeysDir), n.Name) {
			l.errorf(at, "config-value", "line %s: %s is the account's key: another name, or another key in [account]", n.Name, a.Key)
		}
		for _, name := range n.Names {
			if !h.mayProve(strings.TrimPrefix(name, "*.")) {
				l.errorf(root.find("line").val.table.find(n.Name).val.table.find("names").at, "config-value", "names: %s may not be proved: it is not within `names` at the top", name)
			}
		}
		for _, name := range n.Services {
			if !slices.ContainsFunc(h.Services, func(s Service) bool { return s.Name == name }) {
				at := diag.Pos{File: HookFile}
				if e := root.find("line").val.table.find(n.Name).val.table.find("services"); e != nil {
					at = e.at
				}
				l.errorf(at, "config-value", "services: there is no [service.%s]", name)
			}
		}
	}
}

// mayProve reports whether challenges for a name may be written: it is within those of
// the configuration, or has an owner of its own.
func (h *Hook) mayProve(name string) bool {
	n, err := domain.Parse(name)
	if err != nil || len(h.Names) == 0 {
		return true // any; what is no name is refused before
	}
	_, alias := h.Alias[n]
	return alias || slices.ContainsFunc(h.Names, n.IsWithin)
}

// checkPlaces wants private keys and state to be in no directory that others are given: the
// lines' are public, and what is in the drop box is the builder's to judge.
func (l *loader) checkPlaces(h *Hook) {
	if len(h.Lines) == 0 {
		return
	}
	type place struct{ what, path string }
	public := []place{{"lines-dir", h.LinesDir}}
	private := []place{{"keys-dir", h.KeysDir}, {"state-dir", h.StateDir}}
	if h.Account != nil {
		private = append(private, place{"account: key", h.Account.Key})
	}
	for _, n := range h.Lines {
		if n.Dir != "" {
			public = append(public, place{"line " + n.Name + ": directory", n.Dir})
		}
		if n.KeysDir != "" {
			private = append(private, place{"line " + n.Name + ": keys", n.KeysDir})
		}
	}
	at := diag.Pos{File: HookFile}
	for _, p := range private {
		for _, dir := range public {
			if within(p.path, dir.path) {
				l.errorf(at, "config-value", "%s: %s is in that of %s, which is public", p.what, p.path, dir.what)
			}
		}
	}
	for _, p := range append(public, private...) {
		if within(p.path, h.DropBox) {
			l.errorf(at, "config-value", "%s: %s is in the drop box %s, where challenges are and nothing else", p.what, p.path, h.DropBox)
		}
	}
}

// within reports whether a path is a directory or below it.
func within(path, dir string) bool {
	path, err := filepath.Abs(path)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return false // where the working directory is gone; it is not used then
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// Line is the line of a name.
func (h *Hook) Line(name string) (Line, bool) {
	i := slices.IndexFunc(h.Lines, func(n Line) bool { return n.Name == name })
	if i < 0 {
		return Line{}, false
	}
	return h.Lines[i], true
}
