package chainfire

// MemberInfo is one member of the cluster.
type MemberInfo struct {
	ID         uint64
	Name       string
	PeerURLs   []string
	ClientURLs []string
	// Learner says that the member replicates but counts in no quorum.
	Learner bool
	// ReadReplica says that it stays a learner, for reads alone.
	ReadReplica bool
}

// MemberAddRequest adds a member that has not started yet.
type MemberAddRequest struct {
	PeerURLs []string
	Learner  bool
}

// MemberChange is the answer to a membership call.
type MemberChange struct {
	Header Header
	// Member is the member that was added.
	Member  *MemberInfo
	Members []MemberInfo
}

// Status describes one member.
type Status struct {
	Header Header
	// Version is the product's own version.
	Version string
	// Leader is the leader's id, or 0 when none is known.
	Leader  uint64
	Learner bool
	// ReadReplica says that it is a learner that stays one, and serves
	// linearizable reads as well.
	ReadReplica bool
	// RaftIndex is the last index in this member's log, CommitIndex the last
	// one it knows committed, AppliedIndex the last one in its store.
	RaftIndex, CommitIndex, AppliedIndex uint64
	// StoreBytes is the size of the store on disk, LiveBytes an estimate of
	// what of it is in use.
	StoreBytes, LiveBytes int64
	// QuotaBytes is what StoreBytes may come to; 0 is no bound.
	QuotaBytes int64
	// AuthRevision is that of users, roles and permissions.
	AuthRevision uint64
	// Errors are conditions that an operator should look at.
	Errors []string
}

// MemberPhase is where a member stands on its way into the cluster.
type MemberPhase string

// The phases, in order. PhaseReserved members are not in the configuration.
const (
	PhaseReserved  MemberPhase = "reserved"
	PhaseSeeding   MemberPhase = "seeding"
	PhaseLearner   MemberPhase = "learner"
	PhaseVoter     MemberPhase = "voter"
	PhaseUnstarted MemberPhase = "unstarted"
)

// MemberStatus is one member as the leader sees it.
type MemberStatus struct {
	MemberInfo
	Phase MemberPhase
	// Leader says that it is the leader.
	Leader bool
	// MatchIndex is the last index known durable there; AppliedIndex the last
	// one known applied.
	MatchIndex, AppliedIndex uint64
	// Active says that the member was heard of within an election timeout.
	Active bool
	// LastContactMillis is the time since it was last heard of; -1 is never.
	LastContactMillis int64
	// Reason says what the member waits for, or why it stalls; empty if it
	// does neither.
	Reason string
	// Version is that of the member's program; empty until it has said so.
	Version string
}

// ClusterStatus is the cluster as its leader sees it.
type ClusterStatus struct {
	Header Header
	Leader uint64
	// Healthy says that a quorum of voters is active.
	Healthy bool
	// FailureTolerance is how many more voters may fail before writes stop.
	FailureTolerance int
	LastIndex        uint64
	CommitIndex      uint64
	// FeatureLevel is what the members may write, as all of them understand it.
	FeatureLevel uint64
	Members      []MemberStatus
}
