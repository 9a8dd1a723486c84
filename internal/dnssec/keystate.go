package dnssec

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// loadState reads the life of a key from its .state file, in BIND's format: the
// only truth of it. A key without one has the role that its flags say, and is
// in use.
func (k *Key) loadState(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		k.Published = true
		k.KSK = k.DNSKEY.Flags&dns.SEP != 0
		k.ZSK = !k.KSK
		k.SignsKeys, k.SignsZone = k.KSK, k.ZSK
		return nil
	}
	if err != nil {
		return errors.New("read the state: " + cause(err))
	}
	defer f.Close()
	fields := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), ":")
		if !ok || strings.HasPrefix(name, ";") {
			continue
		}
		fields[name] = strings.TrimSpace(value)
	}
	in := func(name string) (bool, error) {
		switch strings.ToLower(fields[name]) {
		case "rumoured", "omnipresent":
			return true, nil
		case "hidden", "unretentive", "":
			return false, nil
		}
		return false, fmt.Errorf("%s: unknown state %q", name, fields[name])
	}
	k.KSK, k.ZSK = fields["KSK"] == "yes", fields["ZSK"] == "yes"
	if !k.KSK && !k.ZSK {
		return errors.New("the key is neither KSK nor ZSK")
	}
	var errs [3]error
	k.Published, errs[0] = in("DNSKEYState")
	k.SignsKeys, errs[1] = in("KRRSIGState")
	k.SignsZone, errs[2] = in("ZRRSIGState")
	k.SignsKeys = k.SignsKeys && k.KSK
	k.SignsZone = k.SignsZone && k.ZSK
	return errors.Join(errs[:]...)
}

// assumeRoles lets a lone SEP key of an algorithm, whose file tells no state,
// sign everything: it is a CSK.
func assumeRoles(keys []Key) {
	signs := map[uint8]bool{}
	for i := range keys {
		if keys[i].ZSK {
			signs[keys[i].DNSKEY.Algorithm] = true
		}
	}
	for i := range keys {
		if k := &keys[i]; k.KSK && !signs[k.DNSKEY.Algorithm] {
			k.ZSK, k.SignsZone = true, k.SignsKeys
		}
	}
}
