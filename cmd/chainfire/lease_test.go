package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWhatAMemberRefusesComesWithWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		"alarm disarm":         rpctypes.ErrNoSpace,
		"chainfire lease list": rpctypes.ErrLeaseNotFound,
		"leave --id out":       rpctypes.ErrLeaseExist,
		"at most 9000000000":   rpctypes.ErrLeaseTTLTooLarge,
		"--max-request-bytes":  rpctypes.ErrRequestTooLarge,
	} {
		if got := advise(fmt.Errorf("put: %w", err)).Error(); !strings.Contains(got, want) || !strings.Contains(got, err.Error()) {
			t.Errorf("%v comes with %q, want %q", err, got, want)
		}
	}
}

func TestWhatChainFiresOwnServicesRefuseComesWithWhatToDo(t *testing.T) {
	for want, err := range map[string]error{
		"--user NAME:PASSWORD":    rpctypes.ErrGRPCUserEmpty,
		"etcdctl user get":        rpctypes.ErrGRPCPermissionDenied,
		"chainfire member list":   rpctypes.ErrGRPCMemberNotFound,
		"does not know this call": status.Error(codes.Unimplemented, "unknown service"), // as etcd answers
	} {
		asked := fmt.Errorf("list the join tokens: %w", errors.Join(errors.New("127.0.0.1:1 is gone"), fmt.Errorf("127.0.0.1:2: %w", err)))
		if got := advise(asked).Error(); !strings.Contains(got, want) {
			t.Errorf("%v comes with %q, want %q", err, got, want)
		}
	}
}

func TestLeasesArePrintedAsTheyAreGivenToOtherCommands(t *testing.T) {
	_, addr := startFake(t, nil)
	header := `"header":{"cluster_id":"abcdef","member_id":"12","revision":34,"raft_term":5}`
	for _, c := range []struct{ args, want string }{
		{"grant 9", "694d\n"},
		{"grant 9 -w json", "{" + header + `,"id":"694d","granted_ttl":9}` + "\n"},
		{"list", "ffffffffffffffff\n1f\n"},
		{"list -w json", "{" + header + `,"leases":[{"id":"ffffffffffffffff"},{"id":"1f"}]}` + "\n"},
		{"ttl 1f", "7s left of 9s\n"},
		{"ttl 1f --keys", "7s left of 9s\na\n\"\\xff\"\n"},
		{"ttl 1f --keys -w json", "{" + header + `,"id":"1f","ttl":7,"granted_ttl":9,"keys":[{"key":"a"},{"key_base64":"/w=="}]}` + "\n"},
		{"keep-alive 1f --once", "lease 1f has 7s\n"},
		{"keep-alive 1f --once -w json", "{" + header + `,"id":"1f","ttl":7}` + "\n"},
		{"revoke 1f", "lease 1f revoked, revision 34\n"},
		{"revoke 1f -w json", "{" + header + `,"id":"1f","revoked":true}` + "\n"},
	} {
		code, out, errOut := runCommand(t, nil, strings.NewReader(""), append([]string{"--endpoints", addr, "lease"}, strings.Fields(c.args)...)...)
		if code != 0 || out != c.want {
			t.Errorf("%s: code %d\n%swant\n%s%s", c.args, code, out, c.want, errOut)
		}
	}
}

func TestLeaseThatHasEndedIsToldApart(t *testing.T) {
	_, addr := startFake(t, nil)
	for args, want := range map[string]string{
		"ttl dead":               "it has ended, or never was",
		"keep-alive dead --once": "it has ended, or never was",
		"keep-alive dead":        "lease dead has ended",
		"ttl 0":                  `lease id "0": give what 'chainfire lease list' shows`,
		"revoke xyz":             `lease id "xyz": give what`,
		"grant 0":                `time to live "0": give seconds, or a duration of at least 1s`,
		"grant 10ms":             `time to live "10ms"`,
		"grant 5 --id x":         `lease id "x"`,
	} {
		code, out, errOut := runCommand(t, nil, strings.NewReader(""), append([]string{"--endpoints", addr, "lease"}, strings.Fields(args)...)...)
		if code == 0 || !strings.Contains(errOut, want) || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: code %d, %s%s", args, code, out, errOut)
		}
	}
}
