#!/bin/sh
# dns_acmehook: acme.sh hands its dns-01 challenges to acmehook.
#
#   ACMEHOOK_DIR=/jail acme.sh --issue --dns dns_acmehook --dnssleep 1 -d example.org
#
# acmehook waits for every name server itself, hence --dnssleep 1. ACMEHOOK is the
# program, if it is not in the PATH.

dns_acmehook_add() {
  "${ACMEHOOK:-acmehook}" -C "${ACMEHOOK_DIR:-.}" add --wait "$1" "$2"
}

dns_acmehook_rm() {
  "${ACMEHOOK:-acmehook}" -C "${ACMEHOOK_DIR:-.}" remove "$1" "$2"
}
