mod test_attribute;
