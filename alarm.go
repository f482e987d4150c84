package chainfire

// AlarmType is what is wrong with a member.
type AlarmType uint8

// The types. While an AlarmNoSpace is raised the cluster takes no writes that need room,
// and while an AlarmCorrupt is it takes none at all.
const (
	AlarmNone AlarmType = iota
	AlarmNoSpace
	AlarmCorrupt
)

// String names the type as etcd does.
func (t AlarmType) String() string {
	switch t {
	case AlarmNone:
		return "NONE"
	case AlarmNoSpace:
		return "NOSPACE"
	case AlarmCorrupt:
		return "CORRUPT"
	}
	return "UNKNOWN"
}

// Alarm is an alarm of one member, which the whole cluster knows.
type Alarm struct {
	MemberID uint64
	Type     AlarmType
}

// AlarmAction is what is to be done about an alarm.
type AlarmAction uint8

// The actions.
const (
	AlarmGet AlarmAction = iota
	AlarmActivate
	AlarmDeactivate
)

// AlarmRequest asks for alarms, raises one or takes one back.
type AlarmRequest struct {
	Action AlarmAction
	Alarm
}

// AlarmResponse has the alarms that there are of a type, or of all types where none was
// named, by type and member; or the one that was raised, also if it was before, or taken
// back, if there was one.
type AlarmResponse struct {
	Header Header
	Alarms []Alarm
}
