"""OfflinePackage -> VerificationReport. Never imports `repack`: the verifier must not trust the producer."""
