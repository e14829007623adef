"""What an application installs to read Libra's totals: `libra.client`."""
