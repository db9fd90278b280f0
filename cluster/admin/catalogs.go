package admin

import (
	"fmt"
	"strings"

	"github.com/eider-dns/eider/store/record"
)

// catalogSetting and memberSetting are the rows of zoneSettings about catalog zones (RFC 9432).
var (
	catalogSetting = zoneSetting{
		key: "catalog", number: record.ZoneCatalog, unset: "none",
		help: "producer: the zone is a catalog, which lists its members for secondaries to follow (RFC 9432)",
		parse: func(text string) ([]byte, error) {
			if text != record.CatalogProducer {
				return nil, fmt.Errorf("%q is no role of a catalog; there is %s", shorten(text), record.CatalogProducer)
			}
			return []byte(text), nil
		},
		format: func(value []byte) string { return string(value) },
	}
	memberSetting = zoneSetting{
		key: "member", number: record.ZoneMember, unset: "none",
		help: "CATALOG[,GROUP]: the zone is listed in that catalog of this cluster, in that group",
		parse: func(text string) ([]byte, error) {
			catalog, group, _ := strings.Cut(text, ",")
			name, err := record.ParseName(catalog)
			if err != nil {
				return nil, err
			}
			value := record.Member{Catalog: name, Group: group}.Encode()
			_, err = record.DecodeMember(value)
			return value, err
		},
		format: func(value []byte) string {
			m, err := record.DecodeMember(value)
			switch {
			case err != nil:
				return err.Error()
			case m.Group == "":
				return m.Catalog.String()
			}
			return m.Catalog.String() + "," + m.Group
		},
	}
)
