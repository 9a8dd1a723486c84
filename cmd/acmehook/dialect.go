package main

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"zonebuild/internal/cli"
)

// call is what a client asks for, whatever its dialect: docs/hooks.md has the
// contract of each.
type call struct {
	add    bool // else remove
	list   []pair
	wait   bool
	also   []string // names whose other challenges in the drop box are waited for too
	refuse bool     // this kind of challenge is declined: exit status 1, nothing said
}

// pair is a name and a value as a client gave them.
type pair struct {
	name  string // of what is to be proved, or the owner of the record
	owner bool
	value string
}

// dialect reads the words and the environment of one client.
type dialect struct {
	name, usage, example string
	read                 func(args []string, env func(string) string) (call, error)
}

func dialects() []dialect {
	return []dialect{
		{"certbot-auth", "certbot --manual-auth-hook", `certbot certonly --manual --preferred-challenges dns --manual-auth-hook "acmehook -C /jail certbot-auth" ...`, certbotAuth},
		{"certbot-cleanup", "certbot --manual-cleanup-hook", `certbot certonly ... --manual-cleanup-hook "acmehook -C /jail certbot-cleanup"`, certbotCleanup},
		{"dehydrated", "hook of dehydrated, all operations", `dehydrated --cron --hook /jail/hook (a script: exec acmehook -C /jail dehydrated "$@")`, dehydrated},
		{"lego", "EXEC_PATH of lego's exec provider, both modes", `EXEC_PATH=/jail/hook lego --dns exec ... (a script: exec acmehook -C /jail lego "$@")`, lego},
		{"uacme", "hook of uacme; declines all but dns-01", `uacme -h /jail/hook issue example.org (a script: exec acmehook -C /jail uacme "$@")`, uacme},
		{"getssl-add", "DNS_ADD_COMMAND of getssl", `DNS_ADD_COMMAND="acmehook -C /jail getssl-add"`, getssl(true)},
		{"getssl-del", "DNS_DEL_COMMAND of getssl", `DNS_DEL_COMMAND="acmehook -C /jail getssl-del"`, getssl(false)},
	}
}

// certbotAuth is called once per challenge; the last one of an order waits for
// all of them, since certbot asks the CA whatever a hook says.
func certbotAuth(args []string, env func(string) string) (call, error) {
	c, err := certbot(args, env, true)
	if left := env("CERTBOT_REMAINING_CHALLENGES"); left == "" || left == "0" {
		c.wait = true
		all := env("CERTBOT_ALL_IDENTIFIERS")
		if all == "" {
			all = env("CERTBOT_ALL_DOMAINS")
		}
		for _, name := range strings.Split(all, ",") {
			if name != "" {
				c.also = append(c.also, name)
			}
		}
	}
	return c, err
}

func certbotCleanup(args []string, env func(string) string) (call, error) {
	return certbot(args, env, false)
}

func certbot(args []string, env func(string) string, add bool) (call, error) {
	name := env("CERTBOT_IDENTIFIER")
	if name == "" {
		name = env("CERTBOT_DOMAIN")
	}
	if len(args) > 0 || name == "" {
		return call{}, cli.Usagef("certbot gives CERTBOT_DOMAIN and CERTBOT_VALIDATION in the environment, and no arguments")
	}
	return call{add: add, list: []pair{{name: name, value: env("CERTBOT_VALIDATION")}}}, nil
}

// dehydrated has triples of name, token and value, one or, with HOOK_CHAIN,
// many. Operations that are not ours must be met with silence.
func dehydrated(args []string, _ func(string) string) (call, error) {
	if len(args) == 0 {
		return call{}, cli.Usagef("dehydrated needs an operation")
	}
	var c call
	switch args[0] {
	case "deploy_challenge":
		c.add, c.wait = true, true
	case "clean_challenge":
	default:
		return c, nil
	}
	rest := args[1:]
	if len(rest) == 0 || len(rest)%3 != 0 {
		return call{}, cli.Usagef("dehydrated %s needs DOMAIN TOKENFILE VALUE, once or several times", args[0])
	}
	for ; len(rest) > 0; rest = rest[3:] {
		c.list = append(c.list, pair{name: rest[0], value: rest[2]})
	}
	return c, nil
}

// lego gives the owner and the digest, or in RAW mode "--", the name, the token
// and the key authorization. It looks at every name server itself.
func lego(args []string, _ func(string) string) (call, error) {
	if len(args) > 0 && (args[0] == "present" || args[0] == "cleanup") {
		c := call{add: args[0] == "present"}
		switch rest := args[1:]; {
		case len(rest) == 4 && rest[0] == "--":
			sum := sha256.Sum256([]byte(rest[3])) // RFC 8555 §8.4
			c.list = []pair{{name: rest[1], value: base64.RawURLEncoding.EncodeToString(sum[:])}}
			if strings.Count(rest[3], ".") != 1 || !strings.HasPrefix(rest[3], rest[2]+".") {
				return call{}, cli.Rejectedf("key authorization: not of the form TOKEN.THUMBPRINT")
			}
			return c, nil
		case len(rest) == 2:
			c.list = []pair{{name: rest[0], owner: true, value: rest[1]}}
			return c, nil
		}
	}
	return call{}, cli.Usagef("lego needs present|cleanup FQDN VALUE, or present|cleanup -- DOMAIN TOKEN KEYAUTH")
}

// uacme offers every kind of challenge; what is declined it offers not again.
func uacme(args []string, _ func(string) string) (call, error) {
	if len(args) != 5 {
		return call{}, cli.Usagef("uacme needs begin|done|failed TYPE IDENT TOKEN AUTH")
	}
	method, kind := args[0], args[1]
	switch method {
	case "begin", "done", "failed":
	default:
		return call{}, cli.Usagef("uacme %q: must be begin, done or failed", method)
	}
	if kind != "dns-01" {
		return call{refuse: method == "begin"}, nil
	}
	return call{add: method == "begin", wait: method == "begin", list: []pair{{name: args[2], value: args[4]}}}, nil
}

func getssl(add bool) func([]string, func(string) string) (call, error) {
	return func(args []string, _ func(string) string) (call, error) {
		if len(args) != 2 {
			return call{}, cli.Usagef("getssl needs DOMAIN VALUE")
		}
		return call{add: add, list: []pair{{name: args[0], value: args[1]}}}, nil
	}
}

// raw reads add and remove: [--wait] NAME VALUE. A value may begin with a hyphen, so
// options stand before the name only.
func raw(add bool) func([]string, func(string) string) (call, error) {
	return func(args []string, _ func(string) string) (call, error) {
		c := call{add: add}
		for len(args) > 2 && strings.HasPrefix(args[0], "-") {
			switch {
			case args[0] == "--":
			case args[0] == "--wait" && add:
				c.wait = true
			default:
				return call{}, cli.Usagef("unknown option %q", args[0])
			}
			args = args[1:]
		}
		if len(args) != 2 {
			return call{}, cli.Usagef("%s needs a name and a value", map[bool]string{true: "add", false: "remove"}[add])
		}
		c.list = []pair{{name: args[0], owner: strings.Contains(args[0], "_acme-challenge"), value: args[1]}}
		return c, nil
	}
}
