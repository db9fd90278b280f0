package admin

import (
	"testing"

	"github.com/eider-dns/eider/store/record"
)

func TestSettingsOfTheNodesAreTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		rule string
		id   record.Setting
		ok   bool
	}{
		{"the feature level", record.SettingLevel, false},
		{"the table of members", record.SettingMembers, false},
		{"its last part", record.SettingMembers + record.MaxMemberParts - 1, false},
		{"rules are an operator's", record.SettingRules, true},
		{"keys, too, as a restore writes them", record.SettingKeys, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			body, err := appendChange(nil, &record.Change{Ops: []record.Op{{Kind: record.OpSetting, Type: tt.id, Data: [][]byte{{0xff, 0xff}}}}})
			if err != nil {
				t.Fatal(err)
			}
			if changes, err := decodeChanges(body); (err == nil) != tt.ok {
				t.Errorf("%d changes, %v", len(changes), err)
			}
		})
	}
}
