package join

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"chainfire/api"
)

// nobody is a connection to where nothing answers.
type nobody struct{ Conn }

func (nobody) Close() error { return nil }

func (nobody) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unavailable, "connection refused")
}

func TestANewcomerIsFoundAtOneOfItsAddressesAndNobodyElseAtAny(t *testing.T) {
	const own, silent, others = "http://own:1", "http://silent:1", "http://others:1"
	for _, c := range []struct {
		urls []string
		want string
	}{
		{[]string{own}, ""},
		{[]string{silent, own}, ""},
		{[]string{own, silent}, ""},
		{[]string{silent}, "called the newcomer back at http://silent:1 and got no answer"},
		{[]string{own, others}, "called the newcomer back at http://others:1 and found another process there"},
		{[]string{silent, others, own}, "found another process there"},
	} {
		g := NewGate(GateOptions{Host: &place{}, Dial: func(addr string) (Conn, error) {
			switch "http://" + addr {
			case own:
				return &between{identify: &api.IdentifyResponse{Incarnation: 22}}, nil
			case others:
				return &between{identify: &api.IdentifyResponse{Incarnation: 33}}, nil
			}
			return nobody{}, nil
		}})
		err := g.callBackAt(t.Context(), &api.JoinRequest{PeerUrls: c.urls, Incarnation: 22})
		if (err != nil) != (c.want != "") || err != nil && (!strings.Contains(err.Error(), c.want) || status.Code(err) != codes.FailedPrecondition) {
			t.Errorf("%q: %v", c.urls, err)
		}
	}
}
