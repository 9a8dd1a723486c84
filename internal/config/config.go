// Package config reads zonebuild.toml, the only configuration of a data tree.
// It is strict: an unknown key, a wrong type or a value out of bounds is an
// error with its place, and one run reports them all. Without the file all
// defaults hold and the zones are the files in soa/.
//
// It knows names, bounds and what fits together. Whether a zone's files are
// there is not its business: that concerns one zone, a fault here all of them.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

// File is the name of the configuration in a tree.
const File = "zonebuild.toml"

// Config is what a tree's configuration says.
type Config struct {
	Tree         string
	Given        bool   // the file is there and says something
	Zones        []Zone // sorted by name
	Default      Policy // [policy] itself
	Publish      Publish
	Paths        Paths
	Sources      map[string]Source // those that the file names
	TLSA         TLSA
	SSHFP        SSHFP
	DropBoxes    []DropBox
	OutputMode   os.FileMode // of unsigned/ZONE and signed/ZONE
	OutputGroup  *int        // gid; nil = what the system gives
	AlarmCommand []string
	NamesFrom    []string         // files that name zones, ready to use
	Resolver     []netip.AddrPort // asked about what is outside the tree; none = /etc/resolv.conf
	Revision     *Revision        // that sources are read of; nil = they are read where they are

	byName map[domain.Name]int
}

// Zone is one zone of the tree. Its file names are as they were written:
// absolute, or relative to the tree.
type Zone struct {
	Name    domain.Name
	Pos     diag.Pos // where it is named
	SOA     string
	Primary []string // none: the zone has no hand-written records
	DS      []string // what the parent has, for the first signed publish
	Policy  Policy
}

// Paths are the places of everything in the tree, ready to use.
type Paths struct {
	Keys, Unsigned, Signed, State        string // what the program writes
	SOA, Primary, DNSExtra, Certs, SSHFP string // what it reads: directories
	CertsMap                             string // and a file
}

// Source says of soa, primary, dnsextra, certs or sshfp how to tell that it is
// mounted (its marker file is there), and how a daemon keeps it up to date.
type Source struct {
	Path   string // as written; "" = the directory of that name in the tree
	Marker string // "" = it is always there

	Update   []string      // fetches what is new; nil = somebody else does
	Revision []string      // prints which revision is there; nil = there is none to tell
	Interval time.Duration // between two updates
}

// Interval is how often a source is updated that does not say so itself.
const Interval = time.Minute

// Find is the zone of a name; nil if it is not in the tree.
func (c *Config) Find(n domain.Name) *Zone {
	if i, ok := c.byName[n]; ok {
		return &c.Zones[i]
	}
	return nil
}

// Same reports whether another configuration of the tree says the same.
func (c *Config) Same(o *Config) bool { return reflect.DeepEqual(c, o) }

// Load reads the configuration of the tree in a directory. The Config is whole
// only when the list has no error.
func Load(tree string) (*Config, diag.List) {
	l := &loader{
		Config: &Config{
			Tree: tree, Default: defaultPolicy(), Publish: defaultPublish(), TLSA: defaultTLSA(), SSHFP: defaultSSHFP(),
			Sources: map[string]Source{}, OutputMode: 0o644, byName: map[domain.Name]int{},
			Paths: Paths{
				Keys: "keys", Unsigned: "unsigned", Signed: "signed", State: "state",
				SOA: "soa", Primary: "primary", DNSExtra: "dnsextra", Certs: "certs", SSHFP: "sshfp", CertsMap: "certs.map",
			},
		},
		policies: map[string]*draft{},
		pathAt:   map[string]diag.Pos{},
		sourceAt: map[string]diag.Pos{},
		places:   map[domain.Name]diag.Pos{},
	}
	l.load()
	l.faults.Sort()
	return l.Config, l.faults
}

// loader is the state of one Load.
type loader struct {
	*Config
	faults   diag.List
	policies map[string]*draft        // "" is [policy]
	pathAt   map[string]diag.Pos      // of a directory that is not the default
	sourceAt map[string]diag.Pos      // of a [source.NAME]
	places   map[domain.Name]diag.Pos // where a zone was named first
}

func (l *loader) errorf(at diag.Pos, code, format string, args ...any) {
	l.faults.Errorf(at, code, "", format, args...)
}

func (l *loader) load() {
	src, err := readText(filepath.Join(l.Tree, File))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.errorf(diag.Pos{File: File}, "config-read", "read the configuration: %s", cause(err))
		return
	}
	root, fault := parse(File, src)
	if fault != nil {
		l.errorf(fault.at, "config-syntax", "%s", fault.msg)
		return
	}
	l.Given = len(root.entries) > 0
	tables := map[string]func(*entry){
		"policy": l.loadPolicies, "publish": l.loadPublish, "paths": l.loadPaths, "source": l.loadSources,
		"tlsa": l.loadTLSA, "sshfp": l.loadSSHFP,
	}
	l.policies[""] = newDraft(nil)
	rest := &table{}
	for _, e := range root.entries {
		switch load := tables[e.key]; {
		case load != nil && e.val.table == nil:
			l.errorf(e.at, "config-value", "%s: must be a table: [%s]", e.key, e.key)
		case load != nil:
			load(e)
		case e.key == "drop-box":
			l.loadDropBoxes(e)
		case e.key != "zone":
			rest.entries = append(rest.entries, e)
		}
	}
	l.read(rest, "", rootKeys(l.Config))
	l.checkPaths()
	l.findRevision()
	l.Default = l.policies[""].Policy
	if e := root.find("zone"); e != nil { // behind the policies, wherever it stands
		l.loadZones(e)
	} else {
		l.zonesFromFiles()
	}
	l.checkExternal()
	l.settle()
}

// checkExternal refuses a server that waits for our signatures where others make
// them: it would be told of zones that it does not get from here.
func (l *loader) checkExternal() {
	i := slices.IndexFunc(l.Zones, func(z Zone) bool { return z.Policy.Sign == SignExternal })
	if i >= 0 && l.Publish.Server == ServerNSD {
		l.errorf(l.Zones[i].Pos, "config-value", `zone %s: sign = "external" needs publish.server = "command", which tells the signer, or "none"`, l.Zones[i].Name)
	}
}

// settle makes the results ready to use.
func (l *loader) settle() {
	p := &l.Paths
	for _, dir := range []*string{
		&p.Keys, &p.Unsigned, &p.Signed, &p.State, &p.SOA, &p.Primary, &p.DNSExtra, &p.Certs, &p.SSHFP, &p.CertsMap,
	} {
		*dir = l.inTree(*dir)
	}
	for _, path := range []*string{&p.SOA, &p.Primary, &p.CertsMap} {
		*path = l.inRevision(*path, false)
	}
	for _, path := range []*string{&p.Certs, &p.SSHFP} {
		*path = l.inRevision(*path, true)
	}
	l.defaultBox()
	slices.SortFunc(l.Zones, func(a, b Zone) int { return a.Name.Compare(b.Name) })
	for i := range l.Zones {
		l.byName[l.Zones[i].Name] = i
	}
}

// read reads each key of the table by what its name asks for. It reports the
// entries that failed by their keys.
func (l *loader) read(t *table, name string, keys []key) (failed []string) {
	for _, e := range t.entries {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == e.key })
		if i < 0 {
			l.unknown(e, name, keys)
		} else if !l.set(e, keys[i].set) {
			failed = append(failed, e.key)
		}
	}
	return failed
}

// set reads one key and reports what is wrong with it.
func (l *loader) set(e *entry, set func(value) error) bool {
	err := set(e.val)
	if err == nil {
		return true
	}
	faults := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		faults = many.Unwrap()
	}
	for _, err := range faults {
		at := e.val.at
		if p, ok := err.(placed); ok {
			at = p.at
		}
		l.errorf(at, "config-value", "%s: %s", e.key, err)
	}
	return false
}

// unknown reports a key that a table does not have, and the one that may be meant.
func (l *loader) unknown(e *entry, name string, keys []key) {
	where := ""
	if name != "" {
		where = " in [" + name + "]"
	}
	kind := "key"
	if e.val.table != nil {
		kind = "table"
	}
	near, least := "", 3
	for _, k := range keys {
		if d := distance(e.key, k.name); d < least && d <= len(k.name)/2 {
			near, least = fmt.Sprintf(" (is %s meant?)", k.name), d
		}
	}
	l.errorf(e.at, "config-unknown", "unknown %s %s%s%s", kind, e.key, where, near)
}

// distance counts the letters to change, add or take away between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// cause is a file's error without the path, which the message names by itself.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// fileMode is the mode of files that others read.
func fileMode(to *os.FileMode) func(value) error {
	return func(v value) error {
		s, err := v.str()
		n, err2 := strconv.ParseUint(s, 8, 32)
		if err != nil || err2 != nil || n&^0o777 != 0 || n&0o600 != 0o600 || n&0o022 != 0 {
			return errors.New(`must be an octal mode such as "0644", writable by the owner alone`)
		}
		*to = os.FileMode(n)
		return nil
	}
}

// rootKeys are the keys that stand above all tables.
func rootKeys(c *Config) []key {
	return []key{
		{"output-mode", fileMode(&c.OutputMode)},
		{"output-group", func(v value) error {
			s, err := v.str()
			if err != nil {
				return err
			}
			gid, err := ParseGroup(s)
			if err == nil {
				c.OutputGroup = &gid
			}
			return err
		}},
		{"alarm-command", argv(&c.AlarmCommand)},
		{"resolver", addresses(&c.Resolver)},
	}
}

// ParseGroup reads a group's number or name.
func ParseGroup(s string) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q", s)
	}
	n, err := strconv.ParseUint(g.Gid, 10, 31)
	return int(n), err
}

func pathKeys(p *Paths) []key {
	return []key{
		{"keys", localPath(&p.Keys)},
		{"unsigned", localPath(&p.Unsigned)},
		{"signed", localPath(&p.Signed)},
		{"state", localPath(&p.State)},
		{"certs-map", localPath(&p.CertsMap)},
	}
}

// loadPaths reads [paths].
func (l *loader) loadPaths(e *entry) {
	l.read(e.val.table, "paths", pathKeys(&l.Paths))
	for _, e := range e.val.table.entries {
		l.pathAt[e.key] = e.val.at
	}
}

// checkPaths refuses one directory for two purposes: their files have the same
// names, and one would overwrite the other.
func (l *loader) checkPaths() {
	p := &l.Paths
	seen := map[string]string{}
	for _, d := range []struct{ key, path string }{
		{"soa", p.SOA}, {"primary", p.Primary}, {"keys", p.Keys}, {"unsigned", p.Unsigned}, {"signed", p.Signed}, {"state", p.State},
	} {
		path := l.inTree(d.path)
		if other, ok := seen[path]; ok {
			at, given := l.pathAt[d.key]
			if !given {
				at = l.pathAt[other]
			}
			l.errorf(at, "config-value", "%s and %s are the same directory", other, d.key)
		}
		seen[path] = d.key
	}
}

// loadSources reads [source.NAME].
func (l *loader) loadSources(e *entry) {
	dirs := map[string]*string{
		"soa": &l.Paths.SOA, "primary": &l.Paths.Primary, "dnsextra": &l.Paths.DNSExtra, "certs": &l.Paths.Certs, "sshfp": &l.Paths.SSHFP,
	}
	for _, e := range e.val.table.entries {
		dir := dirs[e.key]
		switch {
		case dir == nil:
			l.errorf(e.at, "config-unknown", "unknown source %q: there are soa, primary, dnsextra, certs, sshfp", e.key)
			continue
		case e.val.table == nil:
			l.errorf(e.at, "config-value", "%s: must be a table: [source.%s]", e.key, e.key)
			continue
		}
		s := Source{Interval: Interval}
		l.read(e.val.table, "source."+e.key, sourceKeys(&s))
		if s.Path != "" {
			*dir = s.Path
			l.pathAt[e.key] = e.val.table.find("path").val.at
		}
		if at := e.val.table.find("interval"); at != nil && e.val.table.find("update") == nil {
			l.errorf(at.at, "config-value", "interval has no meaning without update")
		}
		l.Sources[e.key], l.sourceAt[e.key] = s, e.at
	}
}

func sourceKeys(s *Source) []key {
	return []key{
		{"path", localPath(&s.Path)},
		{"marker", fileName(&s.Marker)},
		{"update", argv(&s.Update)},
		{"revision", argv(&s.Revision)},
		{"interval", duration(&s.Interval, time.Second, day)},
	}
}
