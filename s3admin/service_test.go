package s3admin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"chainfire"
	"chainfire/api"
	"chainfire/object"
	"chainfire/s3admin"
	"chainfire/s3api/s3test"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// newService is a service over objects in memory, at noon.
func newService(t *testing.T) (*s3admin.Service, *s3test.Service, *strings.Builder) {
	t.Helper()
	objects, log := s3test.New(), &strings.Builder{}
	return s3admin.New(s3admin.Options{
		Objects: objects, Now: func() time.Time { return noon }, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}), objects, log
}

// must is the answer of a call that must succeed.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused holds that a call was refused with a code, and words.
func refused(t *testing.T, what string, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v does not say %q", what, err, w)
		}
	}
}

func TestAMemberWithoutASealingKeySaysWhatToDoAboutIt(t *testing.T) {
	s := s3admin.New(s3admin.Options{Objects: sealless{s3test.New()}})
	_, err := s.CreateS3Key(t.Context(), &api.CreateS3KeyRequest{Admin: true})
	refused(t, "a key that cannot be sealed", err, codes.FailedPrecondition, "no sealing key", "--seal-key-file")
}

// sealless is a member without a sealing key.
type sealless struct{ *s3test.Service }

func (sealless) Seal(string, string) ([]byte, error) {
	return nil, fmt.Errorf("%w: give it one with --seal-key-file", object.ErrNoSealKey)
}

func TestSecretIsToldOnceAndKeptSealed(t *testing.T) {
	s, objects, log := newService(t)
	ctx := t.Context()
	made := must[*api.CreateS3KeyResponse](t)(s.CreateS3Key(ctx, &api.CreateS3KeyRequest{
		Description: "shipper", Grants: []*api.S3Grant{{Bucket: "logs-*", Write: true}}, Limits: &api.S3Limits{Requests: 5, Bytes: 6, MaxObject: 7},
	}))
	want := &api.S3Key{
		Id: made.GetKey().GetId(), Description: "shipper", Created: noon.UnixMilli(), Grants: []*api.S3Grant{{Bucket: "logs-*", Write: true}},
		Limits: &api.S3Limits{Requests: 5, Bytes: 6, MaxObject: 7},
	}
	if d := cmp.Diff(want, made.GetKey(), protocmp.Transform()); d != "" {
		t.Errorf("the key that was made (-want +got):\n%s", d)
	}
	if id := made.GetKey().GetId(); len(id) != 20 || !strings.HasPrefix(id, "CF") || len(made.GetSecret()) != 40 {
		t.Errorf("credentials %s, %d bytes of secret", id, len(made.GetSecret()))
	}
	list := must[*api.ListS3KeysResponse](t)(s.ListS3Keys(ctx, &api.ListS3KeysRequest{}))
	if d := cmp.Diff([]*api.S3Key{want}, list.GetKeys(), protocmp.Transform()); d != "" {
		t.Errorf("the list (-want +got):\n%s", d)
	}
	v := must[*object.View](t)(objects.View(ctx))
	defer v.Close()
	k := must[*object.AccessKey](t)(v.AccessKey(made.GetKey().GetId()))
	if got, err := objects.Unseal(k.ID, k.Sealed); err != nil || got != made.GetSecret() {
		t.Errorf("unsealed: %v, %v", got == made.GetSecret(), err)
	}
	if strings.Contains(log.String(), made.GetSecret()) || !strings.Contains(log.String(), "logs-*:w") {
		t.Errorf("the log: %s", log)
	}
}

func TestKeysAreUniqueByChance(t *testing.T) {
	ids, secrets := map[string]bool{}, map[string]bool{}
	used := map[byte]bool{}
	for range 2000 {
		c := s3admin.NewCredentials()
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		ids[c.ID], secrets[c.Secret] = true, true
		for i := range len(c.Secret) {
			used[c.Secret[i]] = true
		}
	}
	if len(ids) != 2000 || len(secrets) != 2000 || len(used) != 62 {
		t.Errorf("%d ids, %d secrets, of %d characters", len(ids), len(secrets), len(used))
	}
}

func TestWhatIsNotGivenStaysAsItWas(t *testing.T) {
	s, _, _ := newService(t)
	ctx := t.Context()
	made := must[*api.CreateS3KeyResponse](t)(s.CreateS3Key(ctx, &api.CreateS3KeyRequest{
		Description: "d", Grants: []*api.S3Grant{{Bucket: "a", Read: true}}, Limits: &api.S3Limits{Requests: 1},
	})).GetKey()
	yes, no, text := true, false, "other"
	for _, c := range []struct {
		q    *api.SetS3KeyRequest
		does func(k *api.S3Key)
	}{
		{&api.SetS3KeyRequest{Disabled: &yes}, func(k *api.S3Key) { k.Disabled = true }},
		{&api.SetS3KeyRequest{Description: &text}, func(k *api.S3Key) { k.Description = text }},
		{&api.SetS3KeyRequest{Limits: &api.S3Limits{Bytes: 9}}, func(k *api.S3Key) { k.Limits = &api.S3Limits{Bytes: 9} }},
		{&api.SetS3KeyRequest{Grants: &api.S3Grants{Grants: []*api.S3Grant{{Bucket: "*", Write: true}}}}, func(k *api.S3Key) {
			k.Grants = []*api.S3Grant{{Bucket: "*", Write: true}}
		}},
		{&api.SetS3KeyRequest{Admin: &yes, Grants: &api.S3Grants{}}, func(k *api.S3Key) { k.Admin, k.Grants = true, nil }},
		{&api.SetS3KeyRequest{Disabled: &no}, func(k *api.S3Key) { k.Disabled = false }},
	} {
		c.q.Id = made.GetId()
		c.does(made)
		got := must[*api.SetS3KeyResponse](t)(s.SetS3Key(ctx, c.q))
		list := must[*api.ListS3KeysResponse](t)(s.ListS3Keys(ctx, &api.ListS3KeysRequest{}))
		if d := cmp.Diff([]*api.S3Key{made, made}, []*api.S3Key{got.GetKey(), list.GetKeys()[0]}, protocmp.Transform()); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.q, d)
		}
	}
}

// TestWhoChangesAKeyDoesNotUndoWhatAnotherDid lets another member disable a key between the
// moment at which this one reads it and that at which it writes.
func TestWhoChangesAKeyDoesNotUndoWhatAnotherDid(t *testing.T) {
	s, objects, _ := newService(t)
	ctx := t.Context()
	id := must[*api.CreateS3KeyResponse](t)(s.CreateS3Key(ctx, &api.CreateS3KeyRequest{Admin: true})).GetKey().GetId()
	other, yes, text := s3admin.New(s3admin.Options{Objects: objects}), true, "harmless"
	objects.OnChange = func(*object.Change) error {
		objects.OnChange = nil
		_, err := other.SetS3Key(ctx, &api.SetS3KeyRequest{Id: id, Disabled: &yes})
		return err
	}
	_, err := s.SetS3Key(ctx, &api.SetS3KeyRequest{Id: id, Description: &text})
	refused(t, "a change of what has changed", err, codes.Aborted, "ask again")
	if k := must[*api.SetS3KeyResponse](t)(s.SetS3Key(ctx, &api.SetS3KeyRequest{Id: id, Description: &text})).GetKey(); !k.GetDisabled() || k.GetDescription() != text {
		t.Errorf("asked again: %v", k)
	}
}

func TestDeletedKeyIsGone(t *testing.T) {
	s, _, _ := newService(t)
	ctx := t.Context()
	id := must[*api.CreateS3KeyResponse](t)(s.CreateS3Key(ctx, &api.CreateS3KeyRequest{Admin: true})).GetKey().GetId()
	must[*api.DeleteS3KeyResponse](t)(s.DeleteS3Key(ctx, &api.DeleteS3KeyRequest{Id: id}))
	_, err := s.DeleteS3Key(ctx, &api.DeleteS3KeyRequest{Id: id})
	refused(t, "deleted twice", err, codes.NotFound, "s3 key list")
	yes := true
	_, err = s.SetS3Key(ctx, &api.SetS3KeyRequest{Id: id, Disabled: &yes})
	refused(t, "changed when gone", err, codes.NotFound)
}

func TestKeyThatCannotBeIsRefusedByWhatOfIt(t *testing.T) {
	s, objects, _ := newService(t)
	made := must[*api.CreateS3KeyResponse](t)(s.CreateS3Key(t.Context(), &api.CreateS3KeyRequest{Grants: []*api.S3Grant{{Bucket: "a", Read: true}}})).GetKey()
	objects.OnChange = func(*object.Change) error { return errors.New("proposed") }
	many := make([]*api.S3Grant, 101)
	for i := range many {
		many[i] = &api.S3Grant{Bucket: fmt.Sprintf("b%d", i), Read: true}
	}
	for word, q := range map[string]*api.CreateS3KeyRequest{
		"257 bytes":                {Admin: true, Description: strings.Repeat("x", 257)},
		"one line":                 {Admin: true, Description: "a\nb"},
		"101 patterns":             {Grants: many},
		"admin key may do":         {Admin: true, Grants: many[:1]},
		"(requests) is -1":         {Admin: true, Limits: &api.S3Limits{Requests: -1}},
		"(bytes) is -1":            {Admin: true, Limits: &api.S3Limits{Bytes: -1}},
		"(max-object) is -1":       {Admin: true, Limits: &api.S3Limits{MaxObject: -1}},
		"0 bytes":                  {Grants: []*api.S3Grant{{Read: true}}},
		"64 bytes":                 {Grants: []*api.S3Grant{{Bucket: strings.Repeat("a", 64), Read: true}}},
		`byte 1 of the pattern`:    {Grants: []*api.S3Grant{{Bucket: "a/*", Read: true}}},
		"neither to read nor to w": {Grants: []*api.S3Grant{{Bucket: "a"}}},
	} {
		_, err := s.CreateS3Key(t.Context(), q)
		refused(t, "create", err, codes.InvalidArgument, word)
		_, err = s.SetS3Key(t.Context(), &api.SetS3KeyRequest{
			Id: made.GetId(), Description: &q.Description, Admin: &q.Admin, Grants: &api.S3Grants{Grants: q.GetGrants()}, Limits: q.GetLimits(),
		})
		refused(t, "set", err, codes.InvalidArgument, word)
	}
}

func TestBucketsAreMadeListedBoundedAndDeleted(t *testing.T) {
	s, objects, _ := newService(t)
	ctx := t.Context()
	for _, name := range []string{"logs", "logs-2", "photos"} {
		must[*api.CreateS3BucketResponse](t)(s.CreateS3Bucket(ctx, &api.CreateS3BucketRequest{Name: name, Owner: "CFOWNER"}))
	}
	_, err := s.CreateS3Bucket(ctx, &api.CreateS3BucketRequest{Name: "logs"})
	refused(t, "a name that is taken", err, codes.AlreadyExists)
	_, err = s.CreateS3Bucket(ctx, &api.CreateS3BucketRequest{Name: "Logs"})
	refused(t, "a name that cannot be", err, codes.InvalidArgument, "lower-case")
	_, err = s.CreateS3Bucket(ctx, &api.CreateS3BucketRequest{Name: "logs-3", Owner: "a b"})
	refused(t, "an owner that cannot be", err, codes.InvalidArgument, "owner")

	page := must[*api.ListS3BucketsResponse](t)(s.ListS3Buckets(ctx, &api.ListS3BucketsRequest{Prefix: "logs", Limit: 1}))
	if !page.GetMore() || len(page.GetBuckets()) != 1 || page.GetBuckets()[0].GetName() != "logs" {
		t.Errorf("the first page: %v", page)
	}
	page = must[*api.ListS3BucketsResponse](t)(s.ListS3Buckets(ctx, &api.ListS3BucketsRequest{Prefix: "logs", After: "logs"}))
	if page.GetMore() || len(page.GetBuckets()) != 1 || page.GetBuckets()[0].GetName() != "logs-2" || page.GetBuckets()[0].GetOwner() != "CFOWNER" {
		t.Errorf("the second page: %v", page)
	}

	n, none := int64(1), int64(0)
	must[*api.SetS3QuotaResponse](t)(s.SetS3Quota(ctx, &api.SetS3QuotaRequest{Bucket: "logs", Objects: &n}))
	b := must[*api.SetS3QuotaResponse](t)(s.SetS3Quota(ctx, &api.SetS3QuotaRequest{Bucket: "logs", Bytes: &n})).GetBucket()
	if b.GetQuotaBytes() != 1 || b.GetQuotaObjects() != 1 {
		t.Errorf("both bounds: %v", b)
	}
	put := &object.Put{Bucket: "logs", Key: "k", ETag: strings.Repeat("0", 32), Body: object.Body{Size: 2, Inline: []byte("ab")}}
	if _, err := objects.Change(ctx, &object.Change{Put: put}); !errors.Is(err, object.ErrQuota) {
		t.Errorf("over the quota: %v", err)
	}
	must[*api.SetS3QuotaResponse](t)(s.SetS3Quota(ctx, &api.SetS3QuotaRequest{Bucket: "logs", Bytes: &none}))
	must[*object.Result](t)(objects.Change(ctx, &object.Change{Put: put}))
	_, err = s.SetS3Quota(ctx, &api.SetS3QuotaRequest{Bucket: "nowhere", Bytes: &n})
	refused(t, "no bucket", err, codes.NotFound, "bucket list")
	n = -1
	_, err = s.SetS3Quota(ctx, &api.SetS3QuotaRequest{Bucket: "logs", Bytes: &n})
	refused(t, "a bound below 0", err, codes.InvalidArgument)

	_, err = s.DeleteS3Bucket(ctx, &api.DeleteS3BucketRequest{Name: "logs"})
	refused(t, "a bucket that holds something", err, codes.FailedPrecondition, "delete its objects")
	must[*api.DeleteS3BucketResponse](t)(s.DeleteS3Bucket(ctx, &api.DeleteS3BucketRequest{Name: "photos"}))
	_, err = s.DeleteS3Bucket(ctx, &api.DeleteS3BucketRequest{Name: "photos"})
	refused(t, "deleted twice", err, codes.NotFound)
	if views, _ := objects.Left(); views != 0 {
		t.Errorf("%d views are left open", views)
	}
}

func TestErrorsOfTheMemberTravelWithWhatToDo(t *testing.T) {
	s, objects, _ := newService(t)
	for _, c := range []struct {
		err  error
		code codes.Code
		word string
	}{
		{chainfire.ErrFeatureLevel, codes.FailedPrecondition, "install the newest"},
		{chainfire.ErrNoLeader, codes.Aborted, "not known"},
		{chainfire.ErrTooManyRequests, codes.Unavailable, "ask another"},
		{chainfire.ErrLearner, codes.Unavailable, "voter"},
		{fmt.Errorf("propose: %w", chainfire.ErrTimeout), codes.Aborted, "not known"},
		{chainfire.ErrStopped, codes.Aborted, "not known"},
		{object.ErrTooManyKeys, codes.ResourceExhausted, "key delete"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "deadline"},
		{context.Canceled, codes.Canceled, "canceled"},
		{errors.New("odd"), codes.Unknown, "odd"},
	} {
		objects.OnChange = func(*object.Change) error { return c.err }
		_, err := s.CreateS3Key(t.Context(), &api.CreateS3KeyRequest{Admin: true})
		refused(t, c.err.Error(), err, c.code, c.word)
	}
}

// TestReadIsPutToAnotherMemberWhereAChangeIsNot, since it may be made twice.
func TestReadIsPutToAnotherMemberWhereAChangeIsNot(t *testing.T) {
	s := s3admin.New(s3admin.Options{Objects: leaderless{s3test.New()}})
	_, err := s.ListS3Keys(t.Context(), &api.ListS3KeysRequest{})
	refused(t, "a read", err, codes.Unavailable, "chainfire status")
	_, err = s.CreateS3Key(t.Context(), &api.CreateS3KeyRequest{Admin: true})
	refused(t, "a change", err, codes.Aborted, "not known")
}

// leaderless has no leader.
type leaderless struct{ *s3test.Service }

func (leaderless) Change(context.Context, *object.Change) (*object.Result, error) {
	return nil, chainfire.ErrNoLeader
}

func (leaderless) View(context.Context) (*object.View, error) { return nil, chainfire.ErrNoLeader }

func TestMemberWithoutS3SendsToAnother(t *testing.T) {
	s, ctx := s3admin.New(s3admin.Options{}), t.Context()
	for name, call := range map[string]func() error{
		"create key":    func() error { _, err := s.CreateS3Key(ctx, &api.CreateS3KeyRequest{Admin: true}); return err },
		"list keys":     func() error { _, err := s.ListS3Keys(ctx, &api.ListS3KeysRequest{}); return err },
		"set key":       func() error { _, err := s.SetS3Key(ctx, &api.SetS3KeyRequest{}); return err },
		"delete key":    func() error { _, err := s.DeleteS3Key(ctx, &api.DeleteS3KeyRequest{}); return err },
		"create bucket": func() error { _, err := s.CreateS3Bucket(ctx, &api.CreateS3BucketRequest{}); return err },
		"list buckets":  func() error { _, err := s.ListS3Buckets(ctx, &api.ListS3BucketsRequest{}); return err },
		"quota":         func() error { _, err := s.SetS3Quota(ctx, &api.SetS3QuotaRequest{}); return err },
		"delete bucket": func() error { _, err := s.DeleteS3Bucket(ctx, &api.DeleteS3BucketRequest{}); return err },
	} {
		refused(t, name, call(), codes.Unavailable, "--s3=off", "--endpoints")
	}
}
