package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Names of the zones. They are under a name that no server serves (RFC 6761
// §6.2), so that no run depends on what the parent says.
const (
	hostApex = "host.test"
	tldApex  = "tld.test"
)

// seed of all generators: the same size gives the same bytes.
const seed = 20250301

// random is the generator's source: PCG, whose output Go keeps stable.
func random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// writeApex writes what a soa/ fragment holds: SOA and two NS, 3 records.
func writeApex(w io.Writer) error {
	_, err := io.WriteString(w, "$TTL 3600\n@ SOA ns1 hostmaster 1 7200 1800 518400 300\n@ NS ns1\n@ NS ns2\n")
	return err
}

// writeServers writes the addresses of the two name servers, 2 records.
func writeServers(w io.Writer) error {
	_, err := io.WriteString(w, "$TTL 3600\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n")
	return err
}

// hostRecords is how many records the zone of n hosts has, its SOA included.
func hostRecords(n int) int { return 2*n + 7 }

// writeHosts writes the primary/ fragment of `host`: n hosts, each with an A and
// an AAAA record side by side, in an order that the seed chooses, behind the
// servers' addresses, an MX and a TXT.
func writeHosts(w io.Writer, n int) error {
	out := bufio.NewWriter(w)
	if err := writeServers(out); err != nil {
		return err
	}
	fmt.Fprint(out, "@ MX 10 ns1\n@ TXT \"v=spf1 mx -all\"\n")
	for _, i := range random(1).Perm(n) {
		fmt.Fprintf(out, "host%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
		fmt.Fprintf(out, "host%d AAAA 2001:db8::%x:%x\n", i, i>>16, i&0xffff)
	}
	return out.Flush()
}

// delegationRecords is how many records the zone of n delegations has.
func delegationRecords(n int) int { return 4*n + (n+4)/5 + 5 }

// writeDelegations writes the primary/ fragment of `tld`: n delegations in an
// order that the seed chooses, each with two NS below itself and their A records
// as glue; every fifth has a DS of a random digest.
func writeDelegations(w io.Writer, n int) error {
	out := bufio.NewWriter(w)
	if err := writeServers(out); err != nil {
		return err
	}
	r := random(2)
	digest := make([]byte, 32)
	for _, i := range r.Perm(n) {
		fmt.Fprintf(out, "name%d NS ns1.name%d\nname%d NS ns2.name%d\n", i, i, i, i)
		fmt.Fprintf(out, "ns1.name%d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
		fmt.Fprintf(out, "ns2.name%d A 172.%d.%d.%d\n", i, 16+i>>16&15, i>>8&255, i&255)
		if i%5 == 0 {
			for j := range digest {
				digest[j] = byte(r.Uint32())
			}
			fmt.Fprintf(out, "name%d DS %d 13 2 %s\n", i, r.IntN(1<<16), hex.EncodeToString(digest))
		}
	}
	return out.Flush()
}

// smallApex is the name of the i-th zone of `many`.
func smallApex(i int) string { return fmt.Sprintf("zone%05d.test", i) }

// smallRecords is how many records each zone of `many` has.
const smallRecords = 20

// writeSmall writes the primary/ fragment of the i-th zone of `many`: with the
// 3 of soa/, 20 records.
func writeSmall(w io.Writer, i int) error {
	out := bufio.NewWriter(w)
	if err := writeServers(out); err != nil {
		return err
	}
	fmt.Fprint(out, "@ MX 10 mail\nmail A 192.0.2.25\nmail AAAA 2001:db8::25\n@ A 192.0.2.80\n@ AAAA 2001:db8::80\n@ TXT \"v=spf1 mx -all\"\n@ CAA 0 issue \"ca.test\"\nwww CNAME @\n")
	r := random(uint64(3 + i))
	for h := range smallRecords - 3 - 2 - 8 {
		fmt.Fprintf(out, "host%d A 10.%d.%d.%d\n", h, r.IntN(256), r.IntN(256), r.IntN(256))
	}
	return out.Flush()
}

// tree is a data tree of zonebuild's that a run builds.
type tree struct{ dir string }

// newTree makes the directories of a tree and its zonebuild.toml, with the lines
// of policy.
func newTree(dir, policy string) (tree, error) {
	for _, d := range []string{"soa", "primary"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return tree{}, err
		}
	}
	return tree{dir}, os.WriteFile(filepath.Join(dir, "zonebuild.toml"), []byte("[publish]\nserver = \"none\"\n\n[policy]\n"+policy), 0o644)
}

// add writes the fragments of a zone.
func (t tree) add(apex string, primary func(io.Writer) error) error {
	if err := create(filepath.Join(t.dir, "soa", apex), writeApex); err != nil {
		return err
	}
	return create(filepath.Join(t.dir, "primary", apex), primary)
}

func (t tree) signed(apex string) string { return filepath.Join(t.dir, "signed", apex) }

// forget makes the next build one of zones that were never built.
func (t tree) forget() error {
	for _, d := range []string{"signed", "unsigned", "state"} {
		if err := os.RemoveAll(filepath.Join(t.dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// create writes a file through its writer.
func create(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// addTXT appends one TXT record of a new name, the same change for every tool.
func addTXT(path string, round int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%s TXT \"one more\"\n", addedName(round)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func addedName(round int) string { return fmt.Sprintf("host1%d-added", round) }
